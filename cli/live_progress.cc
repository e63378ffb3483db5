#include "cli/live_progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

namespace quantfleet::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::array<std::pair<const char*, const char*>, 4> kKinds = {{
    {"quantize", "quantize"}, {"reference_logits", "reference logits"}, {"accuracy", "accuracy"}, {"timing", "timing"}}};
constexpr int kBarWidth = 30;

std::string bar(int done, int total) {
  const int filled = total > 0 ? done * kBarWidth / total : 0;
  return "[" + std::string(static_cast<std::size_t>(filled), '#') + std::string(static_cast<std::size_t>(kBarWidth - filled), '.') + "]";
}

std::string duration(double seconds) {
  const auto s = static_cast<std::int64_t>(seconds + 0.5);
  if (s >= 3600) return fmt::format("{} h {:02} min", s / 3600, s / 60 % 60);
  if (s >= 60) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} s", s);
}

}  // namespace

LiveProgress::LiveProgress(std::string run) : run_(std::move(run)), on_terminal_(::isatty(STDERR_FILENO) == 1), begin_(Clock::now()) {}

LiveProgress::~LiveProgress() { std::fflush(stderr); }

void LiveProgress::update(const RunCounts& counts) {
  const Clock::time_point now = Clock::now();
  if (items_at_begin_ < 0) items_at_begin_ = counts.items_done;
  if (lines_ > 0 || last_ != Clock::time_point{})
    if (now - last_ < (on_terminal_ ? Clock::duration(200ms) : Clock::duration(10s))) return;
  last_ = now;
  draw(counts);
}

std::string LiveProgress::rate_and_time_left(const RunCounts& counts) const {
  const double elapsed = std::chrono::duration<double>(Clock::now() - begin_).count();
  const std::int64_t measured = counts.items_done - items_at_begin_;
  std::string text = fmt::format("{} of {} items", counts.items_done, counts.items_total);
  if (measured <= 0 || elapsed < 1) return text;
  const double rate = static_cast<double>(measured) / elapsed;
  text += fmt::format(", {:.1f} items/s", rate);
  if (counts.items_total > counts.items_done)
    text += fmt::format(", about {} left", duration(static_cast<double>(counts.items_total - counts.items_done) / rate));
  return text;
}

void LiveProgress::draw(const RunCounts& counts) {
  if (!on_terminal_) {
    int done = 0, total = 0;
    for (const auto& [kind, n] : counts.units) done += n.done, total += n.total;
    fmt::print(stderr, "{}: {} of {} units, {}\n", run_, done, total, rate_and_time_left(counts));
    return;
  }
  erase();
  std::string block = fmt::format("{}\n", run_);
  for (const auto& [kind, words] : kKinds) {
    const auto found = counts.units.find(kind);
    if (found == counts.units.end()) continue;
    block += fmt::format("  {:<17}{} {:>5} / {}\n", words, bar(found->second.done, found->second.total), found->second.done, found->second.total);
  }
  block += fmt::format("  {}{}\n", rate_and_time_left(counts), counts.failed ? fmt::format("; {} units failed", counts.failed) : "");
  lines_ = static_cast<int>(std::ranges::count(block, '\n'));
  fmt::print(stderr, "{}", block);
  std::fflush(stderr);
}

void LiveProgress::erase() {
  if (lines_ > 0) fmt::print(stderr, "\x1b[{}A\x1b[J", lines_);
  lines_ = 0;
}

}  // namespace quantfleet::cli
