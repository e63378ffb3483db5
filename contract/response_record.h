// What an engine answered, as a row keeps it: scorers can mark it again without a model (`quantfleet rescore`).
//   log-likelihoods  {"loglikelihoods": [..], "greedy": [..], "token_ids": [[..], ..]}    one entry for each continuation
//   rolling          {"nll": x, "nll_squared": x, "tokens": n, "divergence": {..}}        the divergence's sums, where there are any
//   generated text   {"stop": "stop_string" | "end_of_text" | "tokens_max", "token_ids": [..]}; the text is the row's `output`
// Numbers are written so that they come back bit for bit.
#pragma once

#include "contract/error.h"
#include "contract/item_result.h"
#include "contract/request.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace quantfleet {

inline constexpr std::size_t kKeptPromptBytesMax = 1u << 20;  // a longer prompt is not kept
std::string_view name_of(GenerateAnswer::Stop stop);

// All that a request asks, in an order of its own: equal texts, equal questions. For hashing.
std::string canonical_text(const Request& request);

// Puts prompt, token ids and answer into the row; generated text becomes its output.
void keep_evidence(const Request& request, const Response& response, ItemResult& row);

// The response a row was scored from. kNotFound where the row keeps none, kBadValue where it is damaged.
Result<Response> kept_response(const ItemResult& row);

}  // namespace quantfleet
