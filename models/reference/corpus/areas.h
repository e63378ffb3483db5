// The six kinds of text. Each area has a document (training; never contains a held-out prompt) and an item (evaluation; its
// prompt is held out). Both depend only on the world and on the random stream they are given.
// Share 8: one prompt in eight is held out; facts hold out one of four wordings for every (person, attribute).
#pragma once

#include "models/reference/corpus/item.h"
#include "models/reference/corpus/world.h"

#include <string>
#include <vector>

namespace quantfleet::reference {

// Documents come with marks: what stands between kAnswerBegin and kAnswerEnd follows from what is before it. Training gives these
// tokens full weight and the rest (names, operands, drawn at random) less. The marks are no part of the text.
inline constexpr char kAnswerBegin = '\x01', kAnswerEnd = '\x02';
inline std::string answer(const std::string& text) { return kAnswerBegin + text + kAnswerEnd; }
std::string without_marks(const std::string& marked, std::vector<bool>* is_answer = nullptr);  // is_answer: one per character

inline constexpr int kHeldOutShare = 8;

// facts.cc: who works, lives, keeps and eats what. Class: the person's exposure tier.
std::string fact_document(const World& world, Random& random);
Item fact_item(const World& world, Random& random);

// arithmetic.cc: + and - of one to three digits, numbers written least significant digit first ("73+54=28" for 37 + 45 = 82): a
// model that writes from left to right then meets the carries in the order it needs them.
std::string arithmetic_document(const World& world, Random& random);
Item arithmetic_item(const World& world, Random& random);

// chains.cc: pairs of people, told in order or shuffled; paths along them, and who is one, two, three links after somebody.
std::string chain_document(const World& world, Random& random);
Item chain_item(const World& world, Random& random);

// programs.cc: a comment that lists one to five operations, then the Python function that performs them.
std::string program_document(const World& world, Random& random);
Item program_item(const World& world, Random& random);

// grammar.cc: a reflexive pronoun agrees with the head noun of its sentence, past up to three attractors.
std::string grammar_document(const World& world, Random& random);
Item grammar_item(const World& world, Random& random);

// requests.cc: a request is refused when the thing is harmful, unless what is wanted is harmless, and the other way round.
std::string request_document(const World& world, Random& random);
Item request_item(const World& world, Random& random);

}  // namespace quantfleet::reference
