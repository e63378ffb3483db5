// Any bytes as an inference server's answer, in every dialect: a sentence, or an answer within its promises.
#include "backends/engines/completion_dialect.h"
#include "backends/engines/http_client.h"

#include <cmath>
#include <cstdlib>
#include <string_view>
#include <vector>

using namespace quantfleet;

namespace {

template <class T>
bool is_good(const Result<T>& read) {
  if (!read && read.error().detail.empty()) std::abort();
  return read.has_value();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  const std::vector<std::int32_t> ids = {1, 5, 7};
  for (const Dialect& dialect : all_dialects()) {
    is_good(dialect.read_facts(body, ""));
    is_good(dialect.read_facts(body, "model"));
    is_good(dialect.read_completion(body));
    if (dialect.read_tokens) is_good(dialect.read_tokens(body));
    if (!dialect.read_scores) continue;
    const auto scores = dialect.read_scores(body, ids);
    if (!is_good(scores)) continue;
    if (scores->size() != ids.size()) std::abort();
    for (const TokenScore& score : *scores)
      if (!(score.loglikelihood <= 0) || !std::isfinite(score.loglikelihood)) std::abort();
  }
  for (const char c : error_text(body))
    if (c < 0x20) std::abort();
  is_good(read_http_url(body));
  return 0;
}
