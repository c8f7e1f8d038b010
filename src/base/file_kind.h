// base/file_kind.h: files that are not what their name says, told by their first bytes: pointers
// that Git LFS left, UTF-16, pages and pickles saved under another name.
//
// Readers ask before they parse, so that the message names the cause and not its symptom. Not here:
// the formats themselves.
#pragma once

#include <filesystem>
#include <string_view>

namespace dure {

// Throws kCorrupt or kUnsupported naming `source`, where `bytes` (the whole or the beginning of a
// file) are an LFS pointer, UTF-16 or UTF-32 text, an HTML page, an error text of a download, or a
// zip archive (a PyTorch pickle).
void refuse_mistaken_file(std::string_view bytes, std::string_view source);
void refuse_mistaken_file(const std::filesystem::path& file);  // Reads its first bytes.

}  // namespace dure
