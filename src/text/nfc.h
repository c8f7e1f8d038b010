// text/nfc.h: Unicode normalisation form C, in linear time for any input, with a fast path for text
// that has it.
//
// Decompositions and compositions come from utf8proc's data; ordering and composing are done here,
// because its own ordering is quadratic on long runs of marks and because the combining classes
// must be those of unicode.h.
#pragma once

#include <string>
#include <string_view>

namespace dure {

// `text` must be valid UTF-8. is_nfc_fast may say false of text that is already normalised, never
// the other way.
bool is_nfc_fast(std::string_view text);
std::string to_nfc(std::string_view text);
// `text` itself where it is normalised already, else a view of `buffer`, which receives the normal
// form.
std::string_view to_nfc(std::string_view text, std::string& buffer);

}  // namespace dure
