// The families of kernels, best first; scalar always last.
#if defined(__x86_64__)
#include "backends/kernels/cpu/avx2/avx2.h"
#include "backends/kernels/cpu/avx512/avx512.h"
#elif defined(__aarch64__)
#include "backends/kernels/cpu/neon/neon.h"
#endif
#include "backends/kernels/cpu/scalar/scalar.h"
#include "backends/kernels/kernels.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <vector>

namespace quantfleet {
namespace {

constexpr KernelFamily kScalar = {
    .name = "scalar",
    .needs = Cpu::kNone,
    .rms_norm = scalar::rms_norm,
    .layer_norm = scalar::layer_norm,
    .rotate = scalar::rotate,
    .silu_mul = scalar::silu_mul,
    .gelu_mul = scalar::gelu_mul,
    .add = scalar::add,
    .softmax = scalar::softmax,
    .log_sum_exp = scalar::log_sum_exp,
    .uses_panels = false,
    .quantize_activations = scalar::quantize_activations,
    .matmul_f32 = scalar::matmul_f32,
    .matmul_int8 = scalar::matmul_int8,
    .attend = scalar::attend,
    .load_kv = scalar::load_kv,
};

#if defined(__x86_64__)
constexpr KernelFamily kAvx512Vnni = {
    .name = "avx512_vnni",
    .needs = Cpu::kAvx512Vnni,
    .rms_norm = avx512::rms_norm,
    .layer_norm = avx512::layer_norm,
    .rotate = avx512::rotate,
    .silu_mul = avx512::silu_mul,
    .gelu_mul = scalar::gelu_mul,
    .add = avx512::add,
    .softmax = avx512::softmax,
    .log_sum_exp = avx512::log_sum_exp,
    .uses_panels = true,
    .grouped_tokens = 17,
    .float_groups = true,
    .quantize_activations = avx512::quantize_activations,
    .matmul_f32 = avx512::matmul_f32,
    .matmul_int8 = avx512::matmul_int8,
    .attend = avx512::attend,
    .load_kv = avx512::load_kv,
};

constexpr KernelFamily kAvx2 = {
    .name = "avx2",
    .needs = Cpu::kAvx2,
    .rms_norm = avx2::rms_norm,
    .layer_norm = avx2::layer_norm,
    .rotate = avx2::rotate,
    .silu_mul = avx2::silu_mul,
    .gelu_mul = scalar::gelu_mul,
    .add = avx2::add,
    .softmax = avx2::softmax,
    .log_sum_exp = avx2::log_sum_exp,
    .uses_panels = true,
    .grouped_tokens = 9,
    .quantize_activations = avx2::quantize_activations,
    .matmul_f32 = avx2::matmul_f32,
    .matmul_int8 = avx2::matmul_int8,
    .attend = avx2::attend,
    .load_kv = avx2::load_kv,
};

constexpr const KernelFamily* kFamilies[] = {&kAvx512Vnni, &kAvx2, &kScalar};
#elif defined(__aarch64__)
constexpr KernelFamily neon_family(std::string_view name, Cpu needs, void (*matmul_int8)(const MatmulTask&)) {
  return {
      .name = name,
      .needs = needs,
      .rms_norm = neon::rms_norm,
      .layer_norm = neon::layer_norm,
      .rotate = neon::rotate,
      .silu_mul = neon::silu_mul,
      .gelu_mul = scalar::gelu_mul,
      .add = neon::add,
      .softmax = neon::softmax,
      .log_sum_exp = neon::log_sum_exp,
      .uses_panels = true,
      .grouped_tokens = 9,
      .quantize_activations = neon::quantize_activations,
      .matmul_f32 = neon::matmul_f32,
      .matmul_int8 = matmul_int8,
      .attend = neon::attend,
  };
}
constexpr KernelFamily kNeonDotprod = neon_family("neon_dotprod", Cpu::kNeonDotprod, neon::matmul_int8_dotprod);
constexpr KernelFamily kNeon = neon_family("neon", Cpu::kNeon, neon::matmul_int8);

constexpr const KernelFamily* kFamilies[] = {&kNeonDotprod, &kNeon, &kScalar};
#else
constexpr const KernelFamily* kFamilies[] = {&kScalar};
#endif

}  // namespace

const RowKernels& row_kernels(const KernelFamily& family) {
#if defined(__x86_64__)
  static constexpr RowKernels kAvx512Rows = {.matmul_int8 = avx512::matmul_row_int8,
                                           .decode_int8 = avx512::decode_row_int8,
                                           .decode_grouped = avx512::decode_grouped,
                                           .multiply_grouped = avx512::multiply_grouped};
  static constexpr RowKernels kAvx2Rows = {.matmul_int8 = avx2::matmul_row_int8,
                                         .decode_int8 = avx2::decode_row_int8,
                                         .decode_grouped = avx2::decode_grouped,
                                         .multiply_grouped = avx2::multiply_grouped};
  if (&family == &kAvx512Vnni) return kAvx512Rows;
  if (&family == &kAvx2) return kAvx2Rows;
#elif defined(__aarch64__)
  static constexpr RowKernels kNeonDotprodRows = {.matmul_int8 = neon::matmul_row_int8_dotprod,
                                                  .decode_int8 = neon::decode_row_int8,
                                                  .decode_grouped = neon::decode_grouped,
                                                  .multiply_grouped = neon::multiply_grouped};
  static constexpr RowKernels kNeonRows = {.matmul_int8 = neon::matmul_row_int8,
                                           .decode_int8 = neon::decode_row_int8,
                                           .decode_grouped = neon::decode_grouped,
                                           .multiply_grouped = neon::multiply_grouped};
  if (&family == &kNeonDotprod) return kNeonDotprodRows;
  if (&family == &kNeon) return kNeonRows;
#endif
  static constexpr RowKernels kScalarRows = {
      .matmul_int8 = scalar::matmul_row_int8, .decode_int8 = scalar::decode_row_int8, .decode_grouped = scalar::decode_grouped};
  return kScalarRows;
}

// Of all CPUs: what another one than this has is no unknown name.
constexpr std::string_view kAllNames[] = {"avx512_vnni", "avx2", "neon_dotprod", "neon", "scalar"};

std::span<const KernelFamily* const> available_kernels() {
  static const std::vector<const KernelFamily*> available = [] {
    std::vector<const KernelFamily*> list;
    for (const KernelFamily* family : kFamilies)
      if (cpu_has(family->needs)) list.push_back(family);
    return list;
  }();
  return available;
}

Result<const KernelFamily*> find_kernels(std::string_view name) {
  if (name.empty()) return available_kernels().front();
  std::string here;
  for (const KernelFamily* family : available_kernels()) {
    if (family->name == name) return family;
    here += (here.empty() ? "" : ", ") + std::string(family->name);
  }
  if (std::find(std::begin(kAllNames), std::end(kAllNames), name) != std::end(kAllNames))
    return Error{Code::kUnsupported, fmt::format("kernels '{}' need instructions which this CPU ({}) lacks; it has: {}", name, cpu_model_name(), here)};
  return Error{Code::kUnknownName, fmt::format("no kernels are called '{}'; this CPU has: {}", name, here)};
}

}  // namespace quantfleet
