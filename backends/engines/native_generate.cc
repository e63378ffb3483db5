// Generation with continuous batching: every step evaluates one token of each running text and the prompts of the ones that
// just got a place, so the weights are read once for all.
#include "backends/engines/delivery.h"
#include "backends/engines/native.h"
#include "backends/models/sampler.h"

#include <fmt/format.h>

#include <algorithm>

namespace quantfleet {
namespace {

constexpr std::size_t kTextsTogether = 16;

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

struct NativeEngine::Slot {
  std::size_t index;                      // of the request
  const Generate* request;
  KvSequence sequence;
  std::vector<std::int32_t> pending;      // tokens that wait for evaluation: the prompt's rest, then the latest token
  int tokens_max;                         // the request's, or what the context leaves
  GenerateAnswer answer;
  Response response;
  LogitsDigest digest;
  Clock::time_point latest;
  std::size_t shown = 0;                  // bytes of the text already passed on
};

void NativeEngine::answer_generations(std::span<const Request> requests, std::span<const std::size_t> indices, Delivery& delivery,
                                      const std::function<void(std::string_view)>& text) {
  struct Waiting {
    std::size_t index;
    std::vector<std::int32_t> prompt;
  };
  std::vector<Waiting> waiting;
  for (const std::size_t index : indices) {
    if (delivery.stopped()) return;
    const auto& request = std::get<Generate>(requests[index]);
    std::vector<std::int32_t> prompt = encode(request.prompt, true);
    if (prompt.empty() && tokenizer_->prefix_token()) prompt.push_back(*tokenizer_->prefix_token());
    if (prompt.empty()) {
      delivery.deliver(index, Error{Code::kBadValue, "the prompt is empty and the model has neither a BOS nor an EOS token to stand for it"});
    } else if (static_cast<std::int64_t>(prompt.size()) > info_.context_tokens) {
      delivery.deliver(index, Error{Code::kTooLarge, fmt::format("the prompt has {} tokens; the context has room for {}", prompt.size(),
                                                                 info_.context_tokens)});
    } else if (request.tokens_max < 0 || !(request.temperature >= 0 && request.temperature <= 1e6f)) {
      delivery.deliver(index, Error{Code::kBadValue, fmt::format("at most {} tokens at temperature {}: neither may be negative",
                                                                 request.tokens_max, request.temperature)});
    } else {
      waiting.push_back({index, std::move(prompt)});
    }
  }
  // What all prompts begin with is read once.
  if (waiting.size() > 1) {
    std::span<const std::int32_t> shared = waiting[0].prompt;
    for (const Waiting& one : waiting)
      shared = shared.first(static_cast<std::size_t>(
          std::mismatch(shared.begin(), shared.end(), one.prompt.begin(), one.prompt.end()).first - shared.begin()));
    KvSequence base = resume(waiting[0].prompt);
    if (static_cast<std::int64_t>(shared.size()) > base.length()) {
      const Transformer::Segment segment{&base, shared.subspan(static_cast<std::size_t>(base.length())), static_cast<std::int64_t>(shared.size())};
      if (transformer_->forward({&segment, 1}, [](std::size_t, std::int64_t, std::span<const float>) {}))
        keep(std::move(base), {shared.begin(), shared.end()});
    }
  }

  std::vector<Slot> slots;
  std::size_t next = 0;
  const auto finish = [&](Slot& slot, GenerateAnswer::Stop stop) {
    slot.answer.stop = stop;
    if (text && slot.answer.text.size() > slot.shown) text(std::string_view(slot.answer.text).substr(slot.shown));
    slot.response.answer = std::move(slot.answer);
    slot.response.total_ms = delivery.elapsed_ms();
    slot.response.logits_digest = slot.digest.hex32();
    delivery.deliver(slot.index, std::move(slot.response));
  };

  while (!delivery.stopped() && (next < waiting.size() || !slots.empty())) {
    while (slots.size() < kTextsTogether && next < waiting.size()) {
      Waiting& one = waiting[next++];
      const auto& request = std::get<Generate>(requests[one.index]);
      const auto room = static_cast<int>(info_.context_tokens - static_cast<std::int64_t>(one.prompt.size()) + 1);
      Slot slot{one.index, &request, resume(one.prompt), {}, std::min(request.tokens_max, room), {}, {}, {}, Clock::now(), 0};
      slot.response.prompt_tokens = static_cast<int>(one.prompt.size());
      slot.pending.assign(one.prompt.begin() + slot.sequence.length(), one.prompt.end());
      if (slot.tokens_max == 0) {
        finish(slot, GenerateAnswer::Stop::kTokensMax);
        continue;
      }
      slots.push_back(std::move(slot));
    }
    if (slots.empty()) continue;

    std::vector<Transformer::Segment> segments;
    for (Slot& slot : slots) segments.push_back({&slot.sequence, slot.pending, static_cast<std::int64_t>(slot.pending.size()) - 1});
    std::vector<std::int32_t> chosen(slots.size());
    const Status status = transformer_->forward(segments, [&](std::size_t s, std::int64_t, std::span<const float> logits) {
      Slot& slot = slots[s];
      slot.digest.add(logits);
      chosen[s] = sample_token(logits, slot.request->temperature, slot.request->seed, slot.answer.token_ids.size());
    });
    if (!status) {
      for (Slot& slot : slots) delivery.deliver(slot.index, status.error());
      slots.clear();
      continue;
    }

    std::vector<Slot> running;
    for (std::size_t s = 0; s < slots.size(); ++s) {
      Slot& slot = slots[s];
      const auto now = Clock::now();
      if (slot.response.generated_tokens == 0) slot.response.first_token_ms = delivery.elapsed_ms();
      else slot.response.inter_token_ms.push_back(std::chrono::duration<float, std::milli>(now - slot.latest).count());
      slot.latest = now;
      ++slot.response.generated_tokens;
      if (tokenizer_->is_end_of_text(chosen[s])) {
        finish(slot, GenerateAnswer::Stop::kEndOfText);
        continue;
      }
      slot.answer.token_ids.push_back(chosen[s]);
      const std::size_t before = slot.answer.text.size();
      slot.answer.text += tokenizer_->decode({&chosen[s], 1}, false);
      if (const std::size_t cut = find_stop(slot.answer.text, before, slot.request->stop); cut != std::string::npos) {
        slot.answer.text.resize(cut);
        finish(slot, GenerateAnswer::Stop::kStopString);
        continue;
      }
      if (static_cast<int>(slot.answer.token_ids.size()) >= slot.tokens_max) {
        finish(slot, GenerateAnswer::Stop::kTokensMax);
        continue;
      }
      if (text) {
        // Whole code points that no stop string can still claim.
        Utf8Stream whole;
        const std::size_t sure = slot.answer.text.size() - held_back(slot.answer.text, slot.request->stop);
        const std::string show = whole.push(std::string_view(slot.answer.text).substr(slot.shown, sure - slot.shown));
        if (!show.empty()) text(show);
        slot.shown += show.size();
      }
      slot.pending.assign(1, chosen[s]);
      running.push_back(std::move(slot));
    }
    slots = std::move(running);
  }
}

}  // namespace quantfleet
