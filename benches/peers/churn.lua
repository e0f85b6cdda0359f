-- Asks for ever other objects of sizes between 1 KiB and 1 MiB, the large ones less often: wrk -s churn.lua URL
local sizes = { { 1024, 0.60 }, { 16384, 0.30 }, { 131072, 0.09 }, { 1048576, 0.01 } }
function init(args)
  math.randomseed(os.time())
end
function request()
  local at = math.random()
  for _, size in ipairs(sizes) do
    if at < size[2] then
      return wrk.format("GET", "/objects/" .. size[1] .. "/" .. math.random(1000000))
    end
    at = at - size[2]
  end
  return wrk.format("GET", "/objects/1024/1")
end
function done(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d\n", summary.requests, summary.errors.status + summary.errors.read
    + summary.errors.timeout + summary.errors.connect, summary.bytes))
end
