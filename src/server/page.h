// server/page.h: what a browser sees at the server's root.
#pragma once

#include <string>

namespace dure {

// `model`: the served name; empty while it is being read.
std::string front_page(const std::string& model);

}  // namespace dure
