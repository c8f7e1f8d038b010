// formats/name_pattern.h: the patterns by which PEFT's rank_pattern and alpha_pattern name modules.
//
// A pattern is a regular expression there, matched at the end of a name, after its beginning or a
// dot. Read here: letters, digits, '_' and '-', "\." and '.', ".*", ".+", "\d+" and "[0-9]+", '^'
// in front and '$' at the end; that is what writers write. Not here: regular expressions for people
// (text/, grammar/).
#pragma once

#include <string>
#include <string_view>

namespace dure {

// Throws kUnsupported for any other sign; `where` names the file. Takes time in proportion to the
// two lengths' product.
bool name_matches(std::string_view pattern, std::string_view name, const std::string& where);

}  // namespace dure
