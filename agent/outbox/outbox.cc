#include "agent/outbox/outbox.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace quantfleet::agent {
namespace {

constexpr std::size_t kRewriteRecords = 256;  // an empty log this long is rewritten

bool read_number(std::string_view text, std::uint64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

std::optional<std::uint64_t> sequence_of(const AgentMessage& message) {
  if (const auto* batch = std::get_if<ResultBatch>(&message)) return batch->sequence;
  if (const auto* finished = std::get_if<UnitFinished>(&message)) return finished->sequence;
  return std::nullopt;
}

}  // namespace

Result<Outbox> Outbox::open(OutboxLog& log, OutboxOptions options) {
  Outbox outbox(log, options);
  Result<std::vector<std::string>> records = log.read();
  if (!records) return records.error();
  outbox.logged_ = records->size();
  for (std::string& record : *records) {
    std::uint64_t number = 0;
    if (record.starts_with('A') && read_number(std::string_view(record).substr(1), number)) {
      while (!outbox.waiting_.empty() && outbox.waiting_.front().sequence <= number) {
        outbox.waiting_bytes_ -= outbox.waiting_.front().bytes.size();
        outbox.waiting_.pop_front();
      }
    } else if (record.starts_with('N') && read_number(std::string_view(record).substr(1), number)) {
      outbox.next_ = std::max(outbox.next_, number);
    } else {
      const Result<AgentMessage> message = decode_agent_message(record);
      const std::optional<std::uint64_t> sequence = message ? sequence_of(*message) : std::nullopt;
      if (!sequence) return Error{Code::kBadValue, "the outbox holds a record that is neither a result nor a number"};
      outbox.next_ = std::max(outbox.next_, *sequence + 1);
      outbox.waiting_bytes_ += record.size();
      outbox.waiting_.push_back({*sequence, std::move(record)});
    }
  }
  return outbox;
}

Status Outbox::append(const Durable& message) {
  AgentMessage numbered = std::visit([](const auto& m) { return AgentMessage(m); }, message);
  if (auto* batch = std::get_if<ResultBatch>(&numbered)) batch->sequence = next_;
  if (auto* finished = std::get_if<UnitFinished>(&numbered)) finished->sequence = next_;
  std::string bytes = encode(numbered);
  if (bytes.size() > kMessageBytesMax)
    return Error{Code::kTooLarge, fmt::format("a result of {} bytes exceeds the limit of {}", bytes.size(), kMessageBytesMax)};
  if (Status stored = log_->append(bytes, /*durable=*/true); !stored) return stored;
  ++logged_;
  waiting_bytes_ += bytes.size();
  waiting_.push_back({next_++, std::move(bytes)});
  return {};
}

Status Outbox::acknowledge(std::uint64_t sequence) {
  if (waiting_.empty() || sequence < waiting_.front().sequence) return {};
  // Only what was sent can be acknowledged: a coordinator's number from before a lost state directory must not drop more.
  if (!sent_at_ || sequence > waiting_.front().sequence) sequence = waiting_.front().sequence;
  waiting_bytes_ -= waiting_.front().bytes.size();
  waiting_.pop_front();
  sent_at_.reset();
  if (waiting_.empty() && logged_ >= kRewriteRecords) {
    logged_ = 1;
    return log_->replace({fmt::format("N{}", next_)});
  }
  ++logged_;
  return log_->append(fmt::format("A{}", sequence), /*durable=*/false);  // lost: it is sent and acknowledged once more
}

std::optional<std::string> Outbox::due(Time now) {
  if (waiting_.empty() || (sent_at_ && now < *sent_at_ + options_.resend_after)) return std::nullopt;
  sent_at_ = now;
  return waiting_.front().bytes;
}

Time Outbox::next_due() const {
  if (waiting_.empty()) return Time::max();
  return sent_at_ ? *sent_at_ + options_.resend_after : Time::min();
}

}  // namespace quantfleet::agent
