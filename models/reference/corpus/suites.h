// The built-in suites' items, written in the final task format (one JSON object per line). Which candidates a suite has is
// decided by difficulty class alone: the class mix below, chosen once after training so that the reference model's F16
// accuracy leaves room in both directions. What a model answers to a single item never decides about that item.
#pragma once

#include "models/reference/corpus/corpus.h"

#include <span>
#include <string>

namespace quantfleet::reference {

struct ClassCount {
  const char* pattern;  // a class is meant when the pattern's parts, separated by *, occur in it in this order
  int count;            // the first `count` items drawn from these classes
};

std::span<const ClassCount> class_mix(Area area);

// Items of a suite in the order they were drawn. Fewer than the mix asks for only when a class runs out of prompts.
std::vector<Item> suite_items(const Corpus& corpus, Area area);

// For each of `originals` (suite_items) another item of exactly its class, with its id: held out from training like every item, different from
// all originals and from each other. The same seed gives the same twins everywhere. Fewer than asked for when a class runs out.
std::vector<Item> fresh_twins(const Corpus& corpus, Area area, std::span<const Item> originals, std::uint64_t seed);

// items.jsonl, byte for byte, of an area's suite and of the text suite.
std::string items_jsonl(std::span<const Item> items, Area area);
std::string text_items_jsonl(const Corpus& corpus);

}  // namespace quantfleet::reference
