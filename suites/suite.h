// A suite: questions, how they are put to a model, how answers are marked. Data in suites/tasks/<name>/, no code there.
// Knows nothing of weights, devices or sockets. A loaded suite is immutable and may be shared by threads.
#pragma once

#include "contract/error.h"
#include "contract/item_result.h"
#include "contract/messages.h"
#include "contract/request.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace quantfleet {

class CodeRunner;  // suites/scorers/code_runner.h

class Suite {
 public:
  virtual ~Suite() = default;
  virtual const SuiteInfo& info() const = 0;
  virtual int size() const = 0;                         // items, in the suite's seeded order
  virtual ItemId item_id(int index) const = 0;
  // The request of item `index`. `chat_template` (Jinja, may be empty) is the model's; used only by tasks that ask for it.
  virtual Result<Request> request(int index, const std::string& chat_template) const = 0;
  // Marks a response. Never fails: what cannot be marked is an ItemResult with an error. `code_runner` may be nullptr
  // unless info().kind is "code".
  virtual ItemResult score(int index, const Response& response, const CodeRunner* code_runner) const = 0;
};

struct SuiteOptions {
  std::uint64_t choice_seed = 0;  // not 0: options in another order, where the task says which they are (suites/choice_order.h)
};

Result<std::shared_ptr<const Suite>> load_suite(const std::filesystem::path& directory, const SuiteOptions& options = {});
// The task of `directory` with other items (JSONL) under another name; its hash is that of what it then is.
Result<std::shared_ptr<const Suite>> load_suite_with_items(const std::filesystem::path& directory, std::string name, std::string_view items,
                                                           const SuiteOptions& options = {});
// All suites under a root, sorted by name; one broken suite is an error that names it. Tasks whose items were not imported yet are
// left out.
Result<std::vector<std::shared_ptr<const Suite>>> load_suites(const std::filesystem::path& root);
// These tasks.
std::vector<std::string> names_of_not_imported(const std::filesystem::path& root);
Result<std::shared_ptr<const Suite>> find_suite(const std::filesystem::path& root, std::string_view name, const SuiteOptions& options = {});

}  // namespace quantfleet
