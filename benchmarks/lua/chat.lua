-- One POST, again and again; what it says comes from the environment:
--   BENCH_MODEL    the model's name
--   BENCH_USER     the stand-in upstream's knobs ("chunks=100"), or empty
--   BENCH_STREAM   "1" asks for server-sent events
--   BENCH_HEADERS  more header fields, "name: value", one a line
-- Prints one line of JSON at the end, times in microseconds.
local stream = os.getenv("BENCH_STREAM") == "1" and '"stream":true,' or ""
local user = os.getenv("BENCH_USER") or ""
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer sk-bench"
for name, value in string.gmatch(os.getenv("BENCH_HEADERS") or "", "([^:\n]+): ([^\n]*)") do
  wrk.headers[name] = value
end
wrk.body = '{"model":"' .. (os.getenv("BENCH_MODEL") or "gpt-4o-mini") .. '",' .. stream
  .. '"user":"' .. user .. '","messages":[{"role":"user","content":"'
  .. string.rep("hello ", 60) .. '"}],"max_tokens":100}'

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'BENCH {"requests":%d,"duration_us":%d,"bytes":%d,"p50_us":%d,"p99_us":%d,'
      .. '"failed":%d,"status":%d}\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50),
    latency:percentile(99), e.connect + e.read + e.write + e.timeout, e.status))
end
