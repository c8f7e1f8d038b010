// cli/terminal_text.h: text of others on a terminal: without what it would obey; and whether
// colours are wanted.
#pragma once

#include <string>

namespace dure {

// Without control characters but line breaks and tabs.
std::string harmless(const std::string& text);

// Standard output is a terminal, and NO_COLOR does not ask for none.
bool shows_colour();

}  // namespace dure
