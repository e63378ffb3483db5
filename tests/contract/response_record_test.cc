// What an engine answered comes back from a row bit for bit, so that it can be marked again.
#include "contract/messages.h"
#include "contract/response_record.h"

#include <catch2/catch.hpp>

#include <set>
#include <string>
#include <vector>

namespace quantfleet {
namespace {

TEST_CASE("every kind of answer is kept and comes back, over the wire too", "[contract]") {
  Response response;
  response.prompt_token_ids = {1, 5, 7};
  response.prompt_tokens = 9;
  Request request = Loglikelihood{"context", {" a", " b"}, {}};
  SECTION("log-likelihoods") {
    response.answer = LoglikelihoodAnswer{{{-0.1 - 1e-17, true, 1, {3}}, {-1.0 / 3, false, 2, {4, 5}}}};
  }
  SECTION("generated text") {
    request = Generate{"context", {}, 5, 0, 0, 1};
    response.answer = GenerateAnswer{"text\xff", {8, 9}, GenerateAnswer::Stop::kEndOfText};
  }
  SECTION("rolling text with a divergence") {
    request = RollingLoglikelihood{"long text", 8};
    RollingLoglikelihoodAnswer answer{12.25, 30.5, 7, {}};
    answer.divergence = Divergence{0.5, 0.4, 0.01, 6, 12, 0.25, -0.3, 0.2, {}};
    response.answer = answer;
  }
  ItemResult row;
  row.item = ItemId{"item"};
  keep_evidence(request, response, row);
  CHECK(row.prompt == (std::holds_alternative<RollingLoglikelihood>(request) ? "" : "context"));
  CHECK(row.prompt_token_ids == response.prompt_token_ids);
  const auto wired = decode_item_result(encode(row));
  REQUIRE(wired.has_value());
  CHECK(*wired == row);
  const auto kept = kept_response(*wired);
  REQUIRE(kept.has_value());
  ItemResult again;
  again.item = row.item;
  keep_evidence(request, *kept, again);
  CHECK(again.response == row.response);
  CHECK(again.output == row.output);
  REQUIRE(kept->answer.index() == response.answer.index());
  if (const auto* choice = std::get_if<LoglikelihoodAnswer>(&kept->answer))
    CHECK(choice->continuations[1].loglikelihood == std::get<LoglikelihoodAnswer>(response.answer).continuations[1].loglikelihood);
}

TEST_CASE("requests have one text each, and no two have the same", "[contract]") {
  const std::vector<Request> requests = {
      Loglikelihood{"a", {"b", "c"}, {}}, Loglikelihood{"a", {"c", "b"}, {}}, Loglikelihood{"a", {"b,1:c"}, {}}, Loglikelihood{"ab", {"c"}, {}},
      Loglikelihood{"a", {"b", "c"}, {"a", "a"}}, RollingLoglikelihood{"a", 512}, RollingLoglikelihood{"a", 256},
      RollingLoglikelihood{"a", 512, RollingLoglikelihood::Windows::kEveryToken}, Generate{"a", {}, 5, 0, 0, 1}, Generate{"a", {"b"}, 5, 0, 0, 1},
      Generate{"a", {}, 6, 0, 0, 1}, Generate{"a", {}, 5, 0.5f, 0, 1}, Generate{"a", {}, 5, 0, 3, 1}, Generate{"a", {}, 5, 0, 0, 0.9f}};
  std::set<std::string> texts;
  for (const Request& request : requests) {
    CHECK(canonical_text(request) == canonical_text(request));
    texts.insert(canonical_text(request));
  }
  CHECK(texts.size() == requests.size());
}

TEST_CASE("a row without a response says so, a damaged one too", "[contract]") {
  ItemResult row;
  CHECK(kept_response(row).error().code == Code::kNotFound);
  for (const char* damaged : {"{", "{}", R"({"stop":1})", R"({"loglikelihoods":[1],"greedy":[]})", "[1]"}) {
    row.response = damaged;
    CAPTURE(damaged);
    CHECK_FALSE(kept_response(row).has_value());
  }
}

}  // namespace
}  // namespace quantfleet
