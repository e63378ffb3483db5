// The options of a question in another order, drawn from (seed, item id): what a model prefers by place alone shows as a
// difference between two orders. The right answer moves along.
#pragma once

#include "suites/task.h"

namespace quantfleet {

// Permutes the option fields of `item` as `order` says, with `seed`. kBadValue, naming the item, where the fields are not what the
// task says.
Status reorder_choices(TaskItem& item, const ChoiceOrder& order, std::uint64_t seed);

}  // namespace quantfleet
