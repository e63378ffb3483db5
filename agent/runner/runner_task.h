// What an agent and its runner (the child process that opens models) say to each other over a socketpair: lines, each a word
// and a JSON document.
//
//   agent -> runner    task {...}           first line; closing the socket ends the runner
//                      selftest {...}       instead of a task: at the agent's start
//   runner -> agent    waiting {}           for the host-wide lock
//                      began [[index,"item"],...]   items being answered from here on: named when the runner dies
//                      row {...}            an ItemResult
//                      progress {"done":..,"total":..}      bytes quantized
//                      finished {...}       a UnitFinished, last line
//                      digests {...}        of a self-test, last line
#pragma once

#include "backends/engines/selftest.h"
#include "contract/error.h"
#include "contract/ids.h"
#include "contract/item_result.h"
#include "contract/messages.h"

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace quantfleet::agent {

// A server that the agent announced under a name (agent --engine NAME=KIND@URL).
struct ServerEngine {
  std::string kind;                          // "vllm"
  std::string url;

  bool operator==(const ServerEngine&) const = default;
};

struct RunnerTask {
  GrantLease lease;
  std::filesystem::path model;               // of the work's model_sha256
  std::filesystem::path reference_logits;    // of its reference_logits_sha256, or empty
  std::filesystem::path text, imatrix;       // of a quantize recipe, or empty
  std::filesystem::path output;              // where quantize and reference-logits work write their artifact
  std::filesystem::path suites_root;
  std::filesystem::path suite_bundle;        // of its suite_bundle_sha256, to be unpacked into suites_root; or empty
  std::vector<std::filesystem::path> adapters;  // of its lora, in this order
  std::filesystem::path token_probes;        // of its token_probes_sha256, or empty
  std::optional<ServerEngine> engine;        // of its engine's name; none: our own
  std::filesystem::path host_lock;           // HostLock prefix
  std::string kernels;                       // "" = best
  int threads = 1;
  bool pin = false;
  std::vector<int> skip;                     // item indices that have a row already
  bool one_at_a_time = false;                // after a crash: so that the item which crashes is known

  bool operator==(const RunnerTask&) const = default;
};

// Where folders are made that become the output: to be removed with it.
std::filesystem::path folders_beside(const std::filesystem::path& output);

// Logits digests of a model on this machine (backends/engines/selftest.h).
struct SelftestTask {
  std::filesystem::path model;
  std::string kernels;                       // "" = best
  int threads = 1;

  bool operator==(const SelftestTask&) const = default;
};

struct RunnerWaiting {};
struct RunnerBegan { std::vector<std::pair<int, ItemId>> items; };
struct RunnerProgress { std::uint64_t done = 0, total = 0; };

struct RunnerDigests { SelftestResult result; };

using RunnerLine = std::variant<RunnerWaiting, RunnerBegan, ItemResult, RunnerProgress, UnitFinished, RunnerDigests>;

std::string encode(const RunnerTask& task);  // all without the newline
std::string encode(const SelftestTask& task);
std::string encode(const RunnerLine& line);
Result<std::variant<RunnerTask, SelftestTask>> decode_runner_task(std::string_view line);
Result<RunnerLine> decode_runner_line(std::string_view line);

}  // namespace quantfleet::agent
