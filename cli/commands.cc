// The list of subcommands, in the order of `quantfleet --help`. A new one adds its file and two lines here.
#include "cli/commands.h"

#include <array>

namespace quantfleet::cli {

std::function<int()> add_demo(CLI::App& app);
std::function<int()> add_run(CLI::App& app);
std::function<int()> add_evaluate(CLI::App& app);
std::function<int()> add_submit(CLI::App& app);
std::function<int()> add_status(CLI::App& app);
std::function<int()> add_cancel(CLI::App& app);
std::function<int()> add_runs(CLI::App& app);
std::function<int()> add_devices(CLI::App& app);
std::function<int()> add_rescore(CLI::App& app);
std::function<int()> add_results(CLI::App& app);
std::function<int()> add_compare(CLI::App& app);
std::function<int()> add_report(CLI::App& app);
std::function<int()> add_gate(CLI::App& app);
std::function<int()> add_informative(CLI::App& app);
std::function<int()> add_coordinator(CLI::App& app);
std::function<int()> add_agent(CLI::App& app);
std::function<int()> add_runner(CLI::App& app);
std::function<int()> add_key(CLI::App& app);
std::function<int()> add_inspect(CLI::App& app);
std::function<int()> add_quantize(CLI::App& app);
std::function<int()> add_imatrix(CLI::App& app);
std::function<int()> add_convert(CLI::App& app);
std::function<int()> add_perplexity(CLI::App& app);
std::function<int()> add_logits(CLI::App& app);
std::function<int()> add_generate(CLI::App& app);
std::function<int()> add_tokenize(CLI::App& app);
std::function<int()> add_bench(CLI::App& app);
std::function<int()> add_formats(CLI::App& app);
std::function<int()> add_selftest(CLI::App& app);
std::function<int()> add_suites(CLI::App& app);
std::function<int()> add_train_reference(CLI::App& app);
std::function<int()> add_version(CLI::App& app);

std::span<const Command> commands() {
  static constexpr std::array kCommands = {
      Command{"demo", "a coordinator and two agents on this machine, a plan, a report", add_demo},
      Command{"run", "a plan from start to report inside one process", add_run},
      Command{"evaluate", "accuracy of one model on suites, here and now", add_evaluate},
      Command{"submit", "a plan to a coordinator", add_submit},
      Command{"status", "where a run stands", add_status},
      Command{"cancel", "end a run", add_cancel},
      Command{"runs", "all runs of a coordinator", add_runs},
      Command{"devices", "the agents of a coordinator", add_devices},
      Command{"rescore", "mark the stored answers of a run again", add_rescore},
      Command{"results", "the table of a run, or its numbers as JSON or CSV", add_results},
      Command{"compare", "one run against another", add_compare},
      Command{"report", "a self-contained HTML page of a run", add_report},
      Command{"gate", "pass, fail or undecided: may a run replace another?", add_gate},
      Command{"informative", "the items of a suite that flipped most under quantization so far", add_informative},
      Command{"coordinator", "take plans, lease work to agents, keep results", add_coordinator},
      Command{"agent", "measures on this machine what a coordinator asks for", add_agent},
      Command{"runner", "", add_runner},
      Command{"key", "CURVE key pairs and the list of admitted agents", add_key},
      Command{"inspect", "architecture, tensors, formats, bits per weight and hashes of a model", add_inspect},
      Command{"quantize", "a model in another weight format", add_quantize},
      Command{"imatrix", "which columns matter: mean squared inputs over a calibration text", add_imatrix},
      Command{"convert", "a model in F32, F16 or BF16", add_convert},
      Command{"perplexity", "perplexity of a text, and divergence from a reference model", add_perplexity},
      Command{"logits", "logits behind given tokens, as raw float32", add_logits},
      Command{"generate", "continues a prompt", add_generate},
      Command{"tokenize", "token ids of texts", add_tokenize},
      Command{"bench", "speed and memory of a model on this machine", add_bench},
      Command{"formats", "one model in every weight format: size, error, divergence, speed", add_formats},
      Command{"selftest", "are this machine's numbers the expected ones, bit for bit?", add_selftest},
      Command{"suites", "list, show and verify the evaluation suites", add_suites},
      Command{"train-reference", "make the reference model from its seed", add_train_reference},
      Command{"version", "version and commit of this program", add_version},
  };
  return kCommands;
}

}  // namespace quantfleet::cli
