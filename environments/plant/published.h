// environments/plant/published.h: does this build reproduce what is published of the plant?
#pragma once

#include <iosfwd>

namespace dure::plant {

// Prints what was found beside what is published; throws Error where they differ.
// The reactor alone (feed A 1.8275 kg/s, 2105.2 kg, Forbes' prices): 4.787 kg/s of B, 89.70 C.
// The plant at the settings of Biegler's optimum: return on investment 121 % a year.
void self_test(std::ostream& out);

}  // namespace dure::plant
