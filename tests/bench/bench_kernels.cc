// Shares of this machine's ceilings that weight products reach on the shapes of a 1B Llama: prompts (256 tokens) and a step of 16
// texts as shares of int8 or F32 arithmetic, decoding (1 token) as a share of the read bandwidth. The ceilings are measured around each product,
// because shared machines drift; medians of the shares are printed. Nothing is asserted.
// Run: bench_kernels [FORMAT[,FORMAT...]] [int8|f32|both] [threads] [repetitions] [KERNELS]
#include "backends/kernels/ceilings.h"
#include "backends/kernels/kernels.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

using namespace quantfleet;

namespace {

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Shape {
  std::int64_t rows, columns;
};

void measure(const KernelFamily& family, const BlockFormat& format, ActivationKind kind, ThreadPool& pool, int repetitions) {
  std::mt19937 random(1);
  CeilingMeter meter(pool.threads());
  for (const Shape shape : {Shape{2048, 2048}, Shape{5632, 2048}, Shape{2048, 5632}}) {
    // Enough copies that decoding reads memory, not the last cache.
    const std::int64_t size = shape.rows * format.row_bytes(shape.columns);
    const int copies = static_cast<int>(std::max<std::int64_t>(1, (std::int64_t(100) << 20) / size));
    std::vector<std::byte> bytes(static_cast<std::size_t>(size));
    for (std::byte& b : bytes) b = static_cast<std::byte>(random() & 0x3f);  // small finite scales in every format
    std::vector<WeightMatrix> weights;
    for (int i = 0; i < copies; ++i) weights.push_back(*WeightMatrix::pack(family, format, bytes, shape.rows, shape.columns, pool));
    std::vector<float> x(static_cast<std::size_t>(256 * shape.columns)), y(static_cast<std::size_t>(256 * shape.rows));
    for (float& v : x) v = static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f;
    MatmulScratch scratch;
    const double macs = double(shape.rows) * double(shape.columns) * 256;
    std::vector<double> prompt_share, prompt_rate, few_share, few_rate, decode_share, decode_rate;
    for (int i = 0; i < repetitions; ++i) {
      const Ceilings before = meter.measure();
      matmul(weights[0], x.data(), 16, shape.columns, kind, y.data(), shape.rows, pool, scratch);  // warm
      double begin = seconds();
      matmul(weights[0], x.data(), 256, shape.columns, kind, y.data(), shape.rows, pool, scratch);
      prompt_rate.push_back(macs / (seconds() - begin));
      begin = seconds();
      for (const WeightMatrix& w : weights) matmul(w, x.data(), 16, shape.columns, kind, y.data(), shape.rows, pool, scratch);
      few_rate.push_back(macs / 16 * copies / (seconds() - begin));
      begin = seconds();
      for (const WeightMatrix& w : weights)
        matmul(w, x.data(), 1, shape.columns, kind, y.data(), shape.rows, pool, scratch);
      decode_rate.push_back(double(size) * copies / (seconds() - begin));
      const Ceilings ceilings = larger(before, meter.measure());
      const double peak = kind == ActivationKind::kInt8 ? ceilings.int8_macs_per_s : ceilings.f32_fmas_per_s;
      prompt_share.push_back(prompt_rate.back() / peak);
      few_share.push_back(few_rate.back() / peak);
      decode_share.push_back(decode_rate.back() / ceilings.read_bytes_per_s);
    }
    fmt::print("{:<12} {:<5} {:<4} {} thr {:>5}x{:<5} prompt {:6.1f} GMAC/s = {:4.2f} of peak   16 tokens {:4.2f}   "
               "decode {:5.1f} GB/s = {:4.2f} of read\n", family.name, format.name, kind == ActivationKind::kInt8 ? "int8" : "f32", pool.threads(), shape.rows,
               shape.columns, median(prompt_rate) / 1e9, median(prompt_share), median(few_share), median(decode_rate) / 1e9, median(decode_share));
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string names = argc > 1 ? argv[1] : "Q8_0,Q4_0,Q4_K,Q6_K,F16";
  const std::string kinds = argc > 2 ? argv[2] : "both";
  const int threads = argc > 3 ? std::max(1, std::atoi(argv[3])) : 1;
  const int repetitions = argc > 4 ? std::max(1, std::atoi(argv[4])) : 5;
  const auto family = find_kernels(argc > 5 ? argv[5] : "");
  if (!family) {
    fmt::print(stderr, "{}\n", family.error().detail);
    return 2;
  }
  ThreadPool pool(threads);
  for (std::size_t begin = 0; begin < names.size();) {
    const std::size_t end = std::min(names.find(',', begin), names.size());
    const BlockFormat* format = find_format(std::string_view(names).substr(begin, end - begin));
    begin = end + 1;
    if (!format) {
      fmt::print(stderr, "no format is called so; see `quantfleet formats`\n");
      return 2;
    }
    if (kinds != "f32" && has_int8_activations(*format)) measure(**family, *format, ActivationKind::kInt8, pool, repetitions);
    if (kinds != "int8") measure(**family, *format, ActivationKind::kF32, pool, repetitions);
  }
}
