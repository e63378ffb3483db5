// What this machine's threads can do at best in a plain loop: the three ceilings that every speed is a share of.
// Shared machines drift: measure in the same minute as what is compared.
#pragma once

#include "backends/kernels/aligned_buffer.h"

#include <vector>

namespace quantfleet {

struct Ceilings {
  double int8_macs_per_s = 0;     // int8 multiply-accumulates by the CPU's best non-matrix dot product
  double f32_fmas_per_s = 0;      // F32 fused multiply-adds, lanes counted
  double read_bytes_per_s = 0;    // reading memory larger than the caches: the better of four prefetched streams and one plain loop
};

// The larger of each: what lies between two measurements is a share of this.
Ceilings larger(const Ceilings& a, const Ceilings& b);

// Holds the memory that is read: 128 MiB for each thread.
class CeilingMeter {
 public:
  explicit CeilingMeter(int threads);
  // The sum over `threads` threads that run at once. Takes about a tenth of a second.
  Ceilings measure();
  // Bytes per second of the reading loop that was the better one in the latest measure(), over so many seconds: what a repetition of
  // that length can reach where the bandwidth comes and goes.
  double read_for(double seconds);

 private:
  int threads_;
  bool plain_is_better_ = true;
  std::vector<AlignedBuffer> buffers_;
};

}  // namespace quantfleet
