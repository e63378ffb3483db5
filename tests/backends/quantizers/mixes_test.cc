// The mixes against the table of llama-quantize's choices that the oracle keeps for every file-level name.
#include "backends/quantizers/mixes.h"

#include "backends/formats/catalog.h"
#include "tests/shared_data.h"

#include <nlohmann/json.hpp>

#include <fstream>
#include <set>

using namespace quantfleet;

TEST_CASE("names of mixes are found in any case, and each has its own file type", "[mixes]") {
  std::set<std::uint32_t> file_types;
  for (const Mix& mix : all_mixes()) {
    CAPTURE(mix.name);
    CHECK(find_mix(mix.name) == &mix);
    CHECK((mix.file_type == kNoFileType || file_types.insert(mix.file_type).second));
  }
  CHECK(find_mix("q4_k_m") == find_mix("Q4_K_M"));
  CHECK(find_mix("Q4_K") == find_mix("Q4_K_M"));
  CHECK(find_mix("") == nullptr);
  CHECK(find_mix("IQ5_NL") == nullptr);
}

TEST_CASE("every mix gives every tensor of llama256 the format that llama-quantize gave it", "[mixes][oracle]") {
  if (!test::has_shared("oracle/models/main/numbers.json")) return;
  const auto model = GgufFile::open(test::unpacked("oracle/models/main/llama256.f32.gguf.zst")).value();
  std::ifstream in(test::shared_root() / "oracle/models/main/numbers.json");
  const auto numbers = nlohmann::json::parse(in);
  std::size_t compared = 0;
  for (const Mix& mix : all_mixes())
    for (const bool weighted : {false, true}) {
      const std::string key = std::string(mix.name) + (weighted ? ".imat" : "");
      if (!numbers.contains(key) || !numbers[key].contains("per_tensor")) continue;
      CAPTURE(key);
      const auto formats = choose_formats(*model, mix, weighted).value();
      for (std::size_t i = 0; i < formats.size(); ++i) {
        const std::string& name = model->tensors()[i].name;
        CAPTURE(name);
        CHECK(std::string(formats[i]->name) == numbers[key]["per_tensor"].at(name)["type"].get<std::string>());
        ++compared;
      }
    }
  CHECK(compared >= 30 * 25);  // thirty tensors, with and without importance
}
