// data/input.h: bytes of an input file, decompressed on the way where its name ends in .zst or .gz.
//
// Truncated or damaged compressed files are Errors kCorrupt that name the file, never a short read;
// joined members and frames are all read. Texts lose a byte-order mark; UTF-16 is refused by name.
// Not here: what the bytes mean (text_extract.h, jsonl.h).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/file.h"

namespace dure {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual size_t read(std::span<char> into) = 0;  // Bytes read; 0 at the end. Throws Error.
};

std::unique_ptr<ByteSource> open_input(
    const Path& path);  // Throws kNotFound, kPermission, kInvalidArgument (a folder).
std::string read_input(const Path& path);  // All of it. Throws kUnsupported
// above 2 GiB.

// A text for a tokenizer: a file as read_input() gives it, or standard input for "-". Throws
// kCorrupt for what is not UTF-8: its stray bytes would be scored or learnt as U+FFFD.
std::string read_text_input(const std::string& path);
// The same for a text at hand; `where` names it.
void require_utf8(std::string_view text, const std::string& where);
// Why `text` is no UTF-8 text and what to do about it; "" where it is one.
std::string not_utf8_reason(std::string_view text);

// Lines of a source without their newline ("\r\n" too), streamed. A line above 256 MiB is an Error
// kCorrupt.
class LineReader {
 public:
  explicit LineReader(const Path& path);
  bool next(std::string& line);               // False at the end.
  int64_t number() const { return number_; }  // Of the last line read, from 1.

 private:
  bool fill();
  Path path_;
  std::unique_ptr<ByteSource> source_;
  std::string buffer_;
  size_t position_ = 0;
  bool opened_ = false, ended_ = false;
  int64_t number_ = 0;
};

bool is_utf8(std::string_view bytes);

// The last extension of the name without .gz or .zst, in lower case with the dot ("" where none);
// ".jsonl" also for its other spellings, .jsonlines and .jl.
std::string content_extension(const Path& path);

}  // namespace dure
