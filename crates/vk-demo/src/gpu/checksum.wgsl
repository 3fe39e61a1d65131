// The checksum of a stretch of device memory: every word, mixed with its place, added up.
//
// Additions wrap and may come in any order, so that each invocation adds its part to the result when it is done.

struct Span {
    first: u32, // word
    words: u32,
    place: u32, // of the first word in the whole that is summed
    slot: u32,  // where the sum goes
}

@group(0) @binding(0) var<storage, read> memory: array<u32>;
@group(0) @binding(1) var<storage, read_write> sums: array<atomic<u32>>;
var<immediate> span: Span;

fn mix(word: u32, place: u32) -> u32 {
    var x = word ^ (place * 0x9e3779b9u);
    x = (x ^ (x >> 16u)) * 0x85ebca6bu;
    x = (x ^ (x >> 13u)) * 0xc2b2ae35u;
    return x ^ (x >> 16u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    var sum = 0u;
    for (var at = id.x; at < span.words; at += groups.x * 64u) {
        sum += mix(memory[span.first + at], span.place + at);
    }
    atomicAdd(&sums[span.slot], sum);
}
