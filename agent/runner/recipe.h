// What a recipe of a plan may say: checked before it is submitted and before it is carried out.
#pragma once

#include "contract/error.h"
#include "contract/job_spec.h"

namespace quantfleet::agent {

// Errors: kUnknownFormat, kUsage: one sentence without the recipe's name.
Status check_recipe(const FormatRecipe& recipe);

}  // namespace quantfleet::agent
