# The tables of one result of `vk-demo migrate`, as Markdown: jq -rf docs/results/tables.jq RESULT.json

def fixed(digits): if . == null then "" else (. * pow(10; digits) | round) as $n
    | ($n / pow(10; digits) | floor | tostring)
    + (if digits == 0 then "" else "." + ("0000" + ($n % pow(10; digits) | tostring) | .[-digits:]) end) end;
def size: if . >= 1048576 then "\(. / 1048576) MiB" else "\(. / 1024) KiB" end;
def way: if . == "host-to-device" then "host to device" else "device to host" end;
def line: "| " + join(" | ") + " |";
def head: line, (map("---:") | line);

. as $result
| ["host-to-device", "device-to-host"] as $ways
| def row($bytes; $order; $way; $mode): first(($result.rows[] | select(.bytes == $bytes and .direction == $way and .mode == $mode
    and ($order == null or .order == $order))), null);
"# \($result.device.name): migration over folio order",
"",
"\($result.device.kind), \($result.device.driver); vk-demo \($result.version), heap \($result.heap_bytes | size), seed \($result.seed); "
    + "one warm-up, median of \($result.iterations) with the coefficient of variation; "
    + (if $result.verified then "every byte verified." else "**not verified**." end),
(if $ARGS.named.load then "", "Load average before: \($ARGS.named.load) (others at work on this machine count)." else empty end),
($ways[] as $way
| "", "## GB/s, \($way | way)", "",
    (["order", "folio", ($result.sizes_bytes[] | size | . + " one by one", . + " batched", . + " merged")] | head),
    (range(0; 11) as $order
    | [($order | tostring), (4096 * pow(2; $order) | size),
        ($result.sizes_bytes[] as $bytes | ("per-folio", "batched", "merged") as $mode
        | row($bytes; $order; $way; $mode) | if . == null then "" else "\(.gb_per_s | fixed(2)) ±\(.cv_percent | fixed(0)) %" end)] | line),
    (["bulk", "all", ($result.sizes_bytes[] as $bytes | "", "",
        (row($bytes; null; $way; "bulk") | "\(.gb_per_s | fixed(2)) ±\(.cv_percent | fixed(0)) %"))] | line)),
"", "## Order 9 (2 MiB) beside order 0 (4 KiB), and beside the bulk copy", "",
"Batched and merged: in the same iteration, the median and the middle half. Regions: of one merged submission, of so many folios.", "",
(["size", "direction", "one by one: times order 0", "us per folio, order 0", "us per folio, order 9", "batched, % of bulk", "merged, % of bulk", "regions"] | head),
($result.sizes_bytes[] | select(. >= 2097152) as $bytes
| $ways[] as $way
| row($bytes; 0; $way; "per-folio") as $zero | row($bytes; 9; $way; "per-folio") as $nine
| row($bytes; 9; $way; "batched") as $batched | row($bytes; 9; $way; "merged") as $merged
| def of_bulk: "\(.of_bulk_percent | fixed(0)) (\(.of_bulk_low_percent | fixed(0)) to \(.of_bulk_high_percent | fixed(0)))";
[($bytes | size), ($way | way), (if $zero then $nine.gb_per_s / $zero.gb_per_s | fixed(0) else "" end),
    ($zero.us_per_folio | fixed(1)), ($nine.us_per_folio | fixed(0)), ($batched | of_bulk), ($merged | of_bulk),
    "\($merged.regions) of \($merged.folios)"] | line)
