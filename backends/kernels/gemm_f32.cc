// Choice of the implementation and the split over threads. Only rows and columns are split.
#include "backends/kernels/gemm_f32.h"

#include "backends/kernels/cpu_features.h"

#include <algorithm>
#include <array>

namespace quantfleet {

extern const GemmF32Kernel kGemmF32Scalar;
#if defined(__x86_64__)
extern const GemmF32Kernel kGemmF32Avx2;
extern const GemmF32Kernel kGemmF32Avx512;
#endif

namespace {

#if defined(__x86_64__)
constexpr std::array<const GemmF32Kernel*, 3> kKernels = {&kGemmF32Avx512, &kGemmF32Avx2, &kGemmF32Scalar};
constexpr std::array<Cpu, 3> kNeeds = {Cpu::kAvx512Vnni, Cpu::kAvx2, Cpu::kNone};
#else
constexpr std::array<const GemmF32Kernel*, 1> kKernels = {&kGemmF32Scalar};
constexpr std::array<Cpu, 1> kNeeds = {Cpu::kNone};
#endif

constexpr std::int64_t kBlockRows = 84;  // rows of C that one task computes at most
constexpr std::int64_t kTasksPerThread = 4;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

std::span<const GemmF32Kernel* const> all_gemm_f32_kernels() { return kKernels; }

const GemmF32Kernel* find_gemm_f32_kernel(std::string_view name) {
  for (std::size_t i = 0; i < kKernels.size(); ++i)
    if ((name == "auto" || name == kKernels[i]->name) && cpu_has(kNeeds[i])) return kKernels[i];
  return nullptr;
}

GemmF32::GemmF32(ThreadPool& pool, const GemmF32Kernel& kernel) : pool_(pool), kernel_(kernel) {
  for (int i = 0; i < pool.threads(); ++i) scratch_.emplace_back(kernel.scratch_floats + 16);
}

void GemmF32::run(MatrixF32 a, MatrixF32 b, std::int64_t m, std::int64_t n, std::int64_t k, float* c,
                  std::int64_t c_stride, bool accumulate) {
  if (m <= 0 || n <= 0) return;
  const std::int64_t width = kernel_.panel_columns;
  const std::int64_t panels = ceil_div(n, width);
  const std::int64_t panel_stride = width * k;
  float* packed = panels_.reserve(panels * panel_stride + 16);
  pool_.parallel_for(panels, 1, [&](std::int64_t begin, std::int64_t end, int) {
    const std::int64_t columns = std::min(end * width, n) - begin * width;
    kernel_.pack(b.data + begin * width * b.column_stride, b.row_stride, b.column_stride, k, columns,
                 packed + begin * panel_stride, panel_stride);
  });

  const std::int64_t tiles = ceil_div(m, kernel_.tile_rows);
  const std::int64_t row_tasks = ceil_div(m, kBlockRows);
  const std::int64_t tiles_per_task = ceil_div(tiles, row_tasks);
  const std::int64_t column_tasks =
      std::min(panels, ceil_div(kTasksPerThread * pool_.threads(), row_tasks));
  const std::int64_t panels_per_task = ceil_div(panels, column_tasks);
  pool_.parallel_for(row_tasks * column_tasks, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t m0 = task / column_tasks * tiles_per_task * kernel_.tile_rows;
      const std::int64_t m1 = std::min(m, m0 + tiles_per_task * kernel_.tile_rows);
      const std::int64_t p0 = task % column_tasks * panels_per_task;
      const std::int64_t n0 = p0 * width, n1 = std::min(n, n0 + panels_per_task * width);
      if (m0 >= m1 || n0 >= n1) continue;
      kernel_.multiply(a.data + m0 * a.row_stride, a.row_stride, a.column_stride, packed + p0 * panel_stride,
                       panel_stride, m1 - m0, n1 - n0, k, c + m0 * c_stride + n0, c_stride, accumulate,
                       scratch(thread));
    }
  });
}

}  // namespace quantfleet
