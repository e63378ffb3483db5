#include "backends/kernels/ceilings.h"

#include "backends/kernels/aligned_buffer.h"
#include "backends/kernels/cpu/peak.h"
#include "backends/kernels/cpu_features.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

namespace quantfleet {
namespace {

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The sum of the threads' rates; all begin together.
double together(int threads, const std::function<double(int)>& rate) {
  std::vector<double> rates(static_cast<std::size_t>(threads));
  std::atomic<int> waiting{threads};
  std::vector<std::thread> running;
  for (int i = 0; i < threads; ++i)
    running.emplace_back([&, i] {
      --waiting;
      while (waiting > 0) std::this_thread::yield();
      rates[static_cast<std::size_t>(i)] = rate(i);
    });
  for (std::thread& thread : running) thread.join();
  double sum = 0;
  for (const double r : rates) sum += r;
  return sum;
}

}  // namespace

Ceilings measure_ceilings(int threads) {
  const peak::Loops loops = peak::loops();
  constexpr std::int64_t kRounds = 4'000'000;
  constexpr std::size_t kBytes = std::size_t(1) << 27;
  std::atomic<std::int64_t> sink{0};
  Ceilings ceilings;
  ceilings.int8_macs_per_s = together(threads, [&](int) {
    const double begin = seconds();
    sink += loops.int8(kRounds);
    return double(kRounds) * loops.int8_per_round / (seconds() - begin);
  });
  ceilings.f32_fmas_per_s = together(threads, [&](int) {
    const double begin = seconds();
    sink += loops.f32(kRounds);
    return double(kRounds) * loops.f32_per_round / (seconds() - begin);
  });
  std::vector<AlignedBuffer> buffers(static_cast<std::size_t>(threads));
  for (AlignedBuffer& buffer : buffers) std::memset(buffer.reserve(kBytes), 1, kBytes);
  ceilings.read_bytes_per_s = together(threads, [&](int i) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(buffers[static_cast<std::size_t>(i)].data());
    const double begin = seconds();
    sink += loops.read(bytes, kBytes);
    return double(kBytes) / (seconds() - begin);
  });
  return ceilings;
}

}  // namespace quantfleet
