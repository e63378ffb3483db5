// The families of kernels, best first; scalar always last.
#include "backends/kernels/cpu/scalar/scalar.h"
#include "backends/kernels/kernels.h"

#include <fmt/format.h>

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
};

constexpr const KernelFamily* kFamilies[] = {&kScalar};

}  // namespace

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
  std::string known;
  for (const KernelFamily* family : kFamilies) {
    known += known.empty() ? std::string(family->name) : ", " + std::string(family->name);
    if (family->name != name) continue;
    if (cpu_has(family->needs)) return family;
    return Error{Code::kUnsupported, fmt::format("kernels '{}' need instructions which this CPU ({}) lacks; best here: '{}'",
                                                 name, cpu_model_name(), available_kernels().front()->name)};
  }
  return Error{Code::kUnknownName, fmt::format("no kernels are called '{}'; known: {}", name, known)};
}

}  // namespace quantfleet
