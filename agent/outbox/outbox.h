// Results on their way to the coordinator: numbered in ascending order, written to disk before they are sent, sent again
// until acknowledged, forgotten then. One message is under way at a time, so that an acknowledgement "up to n" can never
// cover a message that was lost on the way.
//
// The log is append-only: records of [u32 size][u32 CRC-32][payload], the payload a JSON message, or "A<n>" for "up to n is
// acknowledged", or "N<n>" for "the next number is n". A torn record at the end (power loss while writing) is cut off when
// the log is opened. The log is rewritten, by rename, when everything in it is acknowledged.
#pragma once

#include "agent/session.h"
#include "contract/messages.h"

#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace quantfleet::agent {

// Where records survive. Tests and the one-process `quantfleet run` keep them in memory.
class OutboxLog {
 public:
  virtual ~OutboxLog() = default;
  virtual Result<std::vector<std::string>> read() = 0;                       // whole records, oldest first
  virtual Status append(std::string_view record, bool durable) = 0;          // durable: on disk when this returns
  virtual Status replace(const std::vector<std::string>& records) = 0;       // all or nothing
};

class MemoryOutboxLog : public OutboxLog {
 public:
  Result<std::vector<std::string>> read() override { return records_; }
  Status append(std::string_view record, bool) override { records_.emplace_back(record); return {}; }
  Status replace(const std::vector<std::string>& records) override { records_ = records; return {}; }

 private:
  std::vector<std::string> records_;
};

Result<std::unique_ptr<OutboxLog>> open_outbox_file(const std::filesystem::path& path);

struct OutboxOptions {
  std::uint64_t first_sequence = 1;         // for a log that has none yet
  std::size_t full_bytes = 64u << 20;       // beyond: full(), and the session takes no new lease
  Time resend_after = Time(2000);
};

class Outbox {
 public:
  // `log` outlives the outbox. Records that are not ours are an error that names the log's damage.
  static Result<Outbox> open(OutboxLog& log, OutboxOptions options);

  // Numbers the message and stores it. On an error (disk full) nothing was stored.
  Status append(const Durable& message);
  Status acknowledge(std::uint64_t sequence);

  // The message that should be on the wire now, once: nothing while one is under way, again after `resend_after`.
  std::optional<std::string> due(Time now);
  Time next_due() const;                    // Time::max() when empty
  void resend_now() { sent_at_.reset(); }

  bool empty() const { return waiting_.empty(); }
  bool full() const { return waiting_bytes_ > options_.full_bytes; }
  std::size_t size() const { return waiting_.size(); }

 private:
  struct Waiting { std::uint64_t sequence; std::string bytes; };
  explicit Outbox(OutboxLog& log, OutboxOptions options) : log_(&log), options_(options), next_(options.first_sequence) {}

  OutboxLog* log_;
  OutboxOptions options_;
  std::uint64_t next_;
  std::deque<Waiting> waiting_;
  std::size_t waiting_bytes_ = 0;
  std::size_t logged_ = 0;                  // records in the log
  std::optional<Time> sent_at_;
};

}  // namespace quantfleet::agent
