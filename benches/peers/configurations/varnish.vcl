vcl 4.1;
backend default { .host = "127.0.0.1"; .port = "${ORIGIN_PORT}"; }
sub vcl_recv {
  if (req.method == "PURGE") { return (purge); }
  if (req.url ~ "^/uncached/") { return (pass); }
  return (hash);
}
sub vcl_deliver { set resp.http.X-Cache = obj.hits; }
