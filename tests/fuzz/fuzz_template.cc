// Arbitrary bytes as a template, rendered with a chat's variables under small limits: text or an error, never a crash.
#include "suites/template/template.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quantfleet;
  if (size == 0 || size > 65536) return 0;
  static const nlohmann::json variables = {{"messages", {{{"role", "user"}, {"content", "h\u00e9llo"}}}}, {"n", 3}, {"l", {1, 2, 3}}, {"s", "text"}};
  const std::string_view source(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto parsed = Template::parse(source, "fuzz", data[0] % 2 ? kChatTemplateOptions : TemplateOptions{});
  if (parsed.has_value()) (void)parsed->render(variables, {20'000, 1u << 16});
  return 0;
}
