-- Asks for one of N objects of a size: wrk -s objects.lua URL -- PATH N
local path, number = "/", 1
function init(args)
  path, number = args[1], tonumber(args[2])
  math.randomseed(os.time())
end
function request()
  return wrk.format("GET", path .. math.random(number))
end
function done(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.errors.status + summary.errors.read
    + summary.errors.timeout + summary.errors.connect, latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
