// The beginnings by which mistaken files are known.
#include "base/file_kind.h"

#include <fstream>
#include <string>

#include "base/error.h"

namespace dure {
namespace {

// "size 8525080" of a pointer, where it has one.
std::string promised_bytes(std::string_view pointer) {
  const size_t at = pointer.find("\nsize ");
  if (at == std::string_view::npos) return "";
  const size_t first = at + 6;
  return fmt::format(" of {} bytes", pointer.substr(first, pointer.find('\n', first) - first));
}

bool begins(std::string_view bytes, std::string_view what) { return bytes.starts_with(what); }

// A mark, or ASCII with every second byte 0.
bool is_utf16(std::string_view bytes) {
  using namespace std::string_view_literals;
  if (begins(bytes, "\xFF\xFE"sv) || begins(bytes, "\xFE\xFF"sv)) return true;
  return begins(bytes, "{\0"sv) || begins(bytes, "\0{"sv) || begins(bytes, "[\0"sv) ||
         begins(bytes, "\0["sv);
}

bool is_page(std::string_view bytes) {
  for (const char* start : {"<!DOCTYPE html", "<!doctype html", "<html", "Entry not found",
                            "Invalid username or password", "Access to model"}) {
    if (begins(bytes, start)) return true;
  }
  return false;
}

}  // namespace

void refuse_mistaken_file(std::string_view bytes, std::string_view source) {
  if (begins(bytes, "version https://git-lfs.github.com/")) {
    fail(ErrorCode::kCorrupt,
         "{}: a Git LFS pointer in place of a file{}; fetch the file itself (`git lfs pull` in its "
         "repository)",
         source, promised_bytes(bytes));
  }
  if (is_utf16(bytes))
    fail(ErrorCode::kUnsupported, "{}: text in UTF-16 or UTF-32; save it as UTF-8", source);
  if (is_page(bytes))
    fail(ErrorCode::kCorrupt, "{}: a web page or a server's error, not the file; download it again",
         source);
  if (begins(bytes, "PK\x03\x04")) {
    fail(ErrorCode::kUnsupported,
         "{}: a zip archive, as PyTorch's pickles are; save the weights as safetensors", source);
  }
}

void refuse_mistaken_file(const std::filesystem::path& file) {
  std::string bytes(256, '\0');
  std::ifstream in(file, std::ios::binary);
  in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<size_t>(in.gcount()));
  refuse_mistaken_file(bytes, file.string());
}

}  // namespace dure
