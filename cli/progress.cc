#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace quantfleet::cli {

namespace {

using namespace std::chrono_literals;

// "1.2 GiB" for bytes, "1234 tokens" for the rest.
std::string amount(double value, const std::string& unit) {
  if (unit != "bytes") return fmt::format("{:.{}f} {}", value, value < 10 ? 1 : 0, unit);
  if (value >= 1024.0 * 1024 * 1024) return fmt::format("{:.2f} GiB", value / (1024.0 * 1024 * 1024));
  return fmt::format("{:.1f} MiB", value / (1024.0 * 1024));
}

std::string duration(double seconds) {
  const auto whole = static_cast<std::int64_t>(seconds + 0.5);
  if (whole >= 3600) return fmt::format("{}h{:02}m", whole / 3600, whole % 3600 / 60);
  if (whole >= 60) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}s", whole);
}

}  // namespace

Progress::Progress(std::string label, std::string unit)
    : label_(std::move(label)), unit_(std::move(unit)), on_terminal_(::isatty(STDERR_FILENO) == 1), begin_(Clock::now()), last_(begin_) {}

Progress::~Progress() {
  if (!drawn_) return;
  if (on_terminal_) {
    const double elapsed_s = std::chrono::duration<double>(Clock::now() - begin_).count();
    fmt::print(stderr, "\r\x1b[K{}\n", describe(last_done_, last_total_, elapsed_s));
  }
  std::fflush(stderr);
}

std::string Progress::describe(std::uint64_t done, std::uint64_t total, double elapsed_s) const {
  constexpr int kWidth = 24;
  const double rate = elapsed_s > 0 ? static_cast<double>(done) / elapsed_s : 0;
  std::string line = label_ + "  ";
  if (total > 0) {
    const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
    const int filled = static_cast<int>(share * kWidth);
    if (on_terminal_) line += fmt::format("[{}{}] ", std::string(filled, '#'), std::string(kWidth - filled, '.'));
    line += fmt::format("{:3.0f} %  ", 100 * share);
  }
  line += amount(static_cast<double>(done), unit_);
  if (total > 0) line += " of " + amount(static_cast<double>(total), unit_);
  if (rate > 0) line += fmt::format("  {}/s", amount(rate, unit_));
  if (total > done && rate > 0) line += fmt::format("  {} left", duration(static_cast<double>(total - done) / rate));
  else if (total > 0 && done >= total) line += fmt::format("  in {}", duration(elapsed_s));
  return line;
}

void Progress::update(std::uint64_t done, std::uint64_t total) {
  const auto now = Clock::now();
  last_done_ = done;
  last_total_ = total;
  const bool complete = total > 0 && done >= total;
  const auto interval = on_terminal_ ? Clock::duration(100ms) : Clock::duration(10s);
  if (finished_ || (now - last_ < interval && !(complete && drawn_))) return;
  last_ = now;
  finished_ = complete;
  drawn_ = true;
  const std::string line = describe(done, total, std::chrono::duration<double>(now - begin_).count());
  if (on_terminal_) fmt::print(stderr, "\r\x1b[K{}", line);
  else fmt::print(stderr, "{}\n", line);
  std::fflush(stderr);
}

}  // namespace quantfleet::cli
