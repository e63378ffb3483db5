// The runner process: reads one task from its descriptor 3, carries it out, reports, ends. Everything that opens a model file
// happens here, behind the process border.
#pragma once

namespace quantfleet::agent {

int runner_main();  // the program's exit code

}  // namespace quantfleet::agent
