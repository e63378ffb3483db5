// What this machine's threads can do at best in a plain loop: the three ceilings that every speed is a share of.
// Shared machines drift: measure in the same minute as what is compared.
#pragma once

namespace quantfleet {

struct Ceilings {
  double int8_macs_per_s = 0;     // int8 multiply-accumulates by the CPU's best non-matrix dot product
  double f32_fmas_per_s = 0;      // F32 fused multiply-adds, lanes counted
  double read_bytes_per_s = 0;    // reading memory larger than the caches
};

// The sum over `threads` threads that run at once. Takes about a quarter of a second; needs 128 MiB per thread.
Ceilings measure_ceilings(int threads);

}  // namespace quantfleet
