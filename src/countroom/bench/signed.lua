-- Replays calls that were signed beforehand: a line each, "<signature>\t<body>". When they run out it stops
-- asking for money and asks for nothing: a repeat would be cheaper than a bet.
local file = assert(io.open(os.getenv("BENCH_CALLS"), "r"))
local path = os.getenv("BENCH_PATH")
local header = os.getenv("BENCH_HEADER")

request = function()
  local line = file:read("*l")
  if not line then
    wrk.thread:stop()
    return wrk.format("GET", "/health/live")
  end
  local tab = line:find("\t", 1, true)
  return wrk.format("POST", path, { ["Content-Type"] = "application/json", [header] = line:sub(1, tab - 1) }, line:sub(tab + 1))
end

done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "errors": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
