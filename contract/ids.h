// Names of things that cross a process border: distinct types, so that a unit is never passed where an agent is meant.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

namespace quantfleet {

template <class Tag>
struct Id {
  std::string value;

  auto operator<=>(const Id&) const = default;
  bool empty() const { return value.empty(); }
};

using JobId = Id<struct JobTag>;      // one submitted plan; users say "run". "demo-20261123-1a2b3c"
using UnitId = Id<struct UnitTag>;    // one leasable piece of a job. "<job>/accuracy/reference/Q4_0/int8/math/0"
using AgentId = Id<struct AgentTag>;  // the agent's CURVE public key in Z85: 40 characters, cannot be forged
using ItemId = Id<struct ItemTag>;    // one question of a suite, as the suite's file names it

// Counts how often a unit was leased. Rows of an older epoch are refused.
enum class LeaseEpoch : std::uint64_t {};

}  // namespace quantfleet

template <class Tag>
struct std::hash<quantfleet::Id<Tag>> {
  std::size_t operator()(const quantfleet::Id<Tag>& id) const noexcept { return std::hash<std::string>{}(id.value); }
};
