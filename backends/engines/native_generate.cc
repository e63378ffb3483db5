// Generation: each prompt is a path of the tree; behind it a text decodes, one token in every batch, beside the others.
#include "backends/engines/native_evaluation.h"
#include "backends/engines/request_tokens.h"
#include "backends/models/sampler.h"

#include <fmt/format.h>

#include <algorithm>

namespace quantfleet {
namespace {

// Where the first of several stop strings begins in `text`, looking only at what ends behind `from`.
std::size_t find_stop(const std::string& text, std::size_t from, const std::vector<std::string>& stops) {
  std::size_t found = std::string::npos;
  for (const std::string& stop : stops)
    if (!stop.empty()) found = std::min(found, text.find(stop, from >= stop.size() ? from - stop.size() + 1 : 0));
  return found;
}

// Length of the longest end of `text` that begins a stop string: it must wait before it is shown.
std::size_t held_back(const std::string& text, const std::vector<std::string>& stops) {
  std::size_t held = 0;
  for (const std::string& stop : stops)
    for (std::size_t size = std::min(stop.size(), text.size()); size > held; --size)
      if (text.compare(text.size() - size, size, stop, 0, size) == 0) {
        held = size;
        break;
      }
  return held;
}

}  // namespace

Status NativeEngine::Evaluation::plan(const Generate& request, std::size_t index) {
  auto prompt = tokens_of(*engine_.tokenizer_, request, engine_.info_.context_tokens);
  if (!prompt) return prompt.error();
  Path& path = paths_.emplace_back();
  path.request = index;
  path.own = std::move(*prompt);
  path.tokens = {path.own, {}, static_cast<std::int64_t>(path.own.size()) - 1};
  if (request.tokens_max == 0) {
    Text empty = begin_text(path, -1);
    paths_.pop_back();
    finish(empty, GenerateAnswer::Stop::kTokensMax);
  }
  return {};
}

int NativeEngine::Evaluation::tokens_max(const Path& path) const {
  const auto room = static_cast<int>(engine_.info_.context_tokens - path.tokens.size() + 1);
  return std::min(std::get<Generate>(requests_[path.request]).tokens_max, room);
}

NativeEngine::Evaluation::Text NativeEngine::Evaluation::begin_text(const Path& path, int node) const {
  Text text{path.request, &std::get<Generate>(requests_[path.request]), node, KvSequence(*engine_.cache_), growth(path), tokens_max(path)};
  text.response.prompt_tokens = static_cast<int>(path.tokens.size());
  text.response.prompt_token_ids = path.own;
  return text;
}

void NativeEngine::Evaluation::choose(Text& text, std::span<const float> logits) const {
  text.digest.add(logits);
  text.chosen = sample_token(logits, text.request->temperature, text.request->seed, text.answer.token_ids.size(), text.request->top_p);
}

void NativeEngine::Evaluation::finish(Text& text, GenerateAnswer::Stop stop) {
  text.answer.stop = stop;
  if (text_ && text.answer.text.size() > text.shown) text_(std::string_view(text.answer.text).substr(text.shown));
  text.response.answer = std::move(text.answer);
  text.response.total_ms = delivery_.elapsed_ms();
  text.response.logits_digest = text.digest.hex32();
  delivery_.deliver(text.index, std::move(text.response));
}

bool NativeEngine::Evaluation::advance(Text& text) {
  const auto now = Clock::now();
  if (text.response.generated_tokens == 0) text.response.first_token_ms = delivery_.elapsed_ms();
  else text.response.inter_token_ms.push_back(std::chrono::duration<float, std::milli>(now - text.at).count());
  text.at = now;
  ++text.response.generated_tokens;
  text.latest = std::exchange(text.chosen, -1);
  const auto ends = [&](GenerateAnswer::Stop stop) {
    finish(text, stop);
    return false;
  };
  if (engine_.tokenizer_->is_end_of_text(text.latest)) return ends(GenerateAnswer::Stop::kEndOfText);
  text.answer.token_ids.push_back(text.latest);
  const std::vector<std::string>& stops = text.request->stop;
  const std::size_t before = text.answer.text.size();
  text.answer.text += engine_.tokenizer_->decode({&text.latest, 1}, false);
  if (const std::size_t cut = find_stop(text.answer.text, before, stops); cut != std::string::npos) {
    text.answer.text.resize(cut);
    return ends(GenerateAnswer::Stop::kStopString);
  }
  if (static_cast<int>(text.answer.token_ids.size()) >= text.tokens_max) return ends(GenerateAnswer::Stop::kTokensMax);
  if (text_) {
    // Whole code points that no stop string can still claim.
    Utf8Stream whole;
    const std::size_t sure = text.answer.text.size() - held_back(text.answer.text, stops);
    const std::string show = whole.push(std::string_view(text.answer.text).substr(text.shown, sure - text.shown));
    if (!show.empty()) text_(show);
    text.shown += show.size();
  }
  return true;
}

}  // namespace quantfleet
