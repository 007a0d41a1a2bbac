-- Replays calls that were signed beforehand: a line each, "<signature> <body>". When they run out
-- it stops asking for money and asks for nothing: a repeat would be cheaper than a bet.
local file = assert(io.open(os.getenv("BENCH_CALLS"), "r"))
local path = os.getenv("BENCH_PATH")

request = function()
  local line = file:read("*l")
  if not line then
    wrk.thread:stop()
    return wrk.format("GET", "/health/live")
  end
  local headers = { ["Content-Type"] = "application/json", ["X-Request-Sign"] = line:sub(1, 64) }
  return wrk.format("POST", path, headers, line:sub(66))
end

done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "errors": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
