// Ctrl-C (SIGINT) and SIGTERM as a question that long work asks now and then; the second Ctrl-C ends the program at once.
#pragma once

namespace quantfleet::cli {

void catch_interrupts();  // call once, before the work
bool interrupted();       // true after the first signal

}  // namespace quantfleet::cli
