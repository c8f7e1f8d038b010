// Kinds by a file's extension, languages by the names of its folders. What is not what its name
// says is a bad record, counted and passed over; what cannot be opened ends the preparation.
#include "data/corpus_inputs.h"

#include <fnmatch.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "data/input.h"
#include "data/text_extract.h"

namespace dure {
namespace {

namespace fs = std::filesystem;

enum class Kind { kText, kMarkdown, kHtml, kJsonl, kUnknown };

Kind kind_of(const Path& path) {
  const std::string extension = content_extension(path);
  if (extension == ".html" || extension == ".htm" || extension == ".xhtml") return Kind::kHtml;
  if (extension == ".md" || extension == ".markdown") return Kind::kMarkdown;
  if (extension == ".jsonl" || extension == ".ndjson") return Kind::kJsonl;
  return extension == ".txt" ? Kind::kText : Kind::kUnknown;
}

bool matches(const std::vector<std::string>& patterns, const Path& relative) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    const std::string subject =
        pattern.find('/') == std::string::npos ? relative.filename().string() : relative.string();
    return ::fnmatch(pattern.c_str(), subject.c_str(), 0) == 0;
  });
}

// The innermost folder named by a language code. Without a list from the user, ISO 639-1 codes in
// wide use.
std::string language_of_folders(const Path& relative, const std::vector<std::string>& languages) {
  static const std::set<std::string> known = {
      "ar", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr",
      "he", "hi", "hr", "hu", "id", "it", "ja", "ko", "lt", "lv", "ms", "nl", "no", "pl",
      "pt", "ro", "ru", "sk", "sl", "sr", "sv", "th", "tr", "uk", "ur", "vi", "zh"};
  std::string found;
  for (const Path& part : relative.parent_path()) {
    const std::string name = part.string();
    const bool wanted = std::find(languages.begin(), languages.end(), name) != languages.end();
    if (wanted || known.contains(name) || name.starts_with("zh_")) found = name;
  }
  return found;
}

bool is_hidden(const Path& relative) {
  return std::any_of(relative.begin(), relative.end(),
                     [](const Path& part) { return part.string().starts_with("."); });
}

// Regular files below `folder`, as sorted relative paths.
std::vector<Path> files_below(const Path& folder) {
  std::vector<Path> files;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    const Path relative = entry->path().lexically_relative(folder);
    if (entry->is_regular_file() && !is_hidden(relative)) files.push_back(relative);
  }
  if (error) {
    errno = error.value();
    fail_errno("cannot read folder " + folder.string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

void add_folder(const CorpusSource& source, const Path& folder, std::vector<InputFile>& files,
                int64_t& skipped_count) {
  for (const Path& relative : files_below(folder)) {
    if (!source.include.empty() && !matches(source.include, relative)) continue;
    if (matches(source.exclude, relative)) continue;
    if (source.include.empty() && kind_of(relative) == Kind::kUnknown) {
      ++skipped_count;
      continue;
    }
    std::string language = language_of_folders(relative, source.languages);
    const bool unwanted = !source.languages.empty() && !language.empty() &&
                          std::find(source.languages.begin(), source.languages.end(), language) ==
                              source.languages.end();
    if (unwanted) continue;
    files.push_back(
        {.path = folder / relative,
         .label = source.name.empty() ? relative.string() : source.name + "/" + relative.string(),
         .language = source.language.empty() ? language : source.language});
  }
}

void read_jsonl(const InputFile& file, BadRecords& bad, const std::function<void(Record)>& use) {
  JsonlReader reader(file.path);
  Record record;
  try {
    for (auto outcome = reader.next(record); outcome != JsonlReader::Outcome::kEnd;
         outcome = reader.next(record)) {
      if (outcome == JsonlReader::Outcome::kBad) {
        bad.add(file.path.string(), reader.line_number(), reader.problem());
        continue;
      }
      if (record.language.empty()) record.language = file.language;
      if (record.source.empty())
        record.source = fmt::format("{}:{}", file.label, reader.line_number());
      use(record);
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCorrupt) throw;
    bad.add(file.path.string(), reader.line_number() + 1, error.what());
  }
}

std::string text_of_file(const InputFile& file) {
  const std::string content = read_input(file.path);
  const Kind kind = kind_of(file.path);
  if (kind == Kind::kHtml) return text_of_html(content, file.path.string());
  if (!is_utf8(content)) fail(ErrorCode::kCorrupt, "not UTF-8");
  return kind == Kind::kMarkdown ? text_of_markdown(content) : tidy_text(content);
}

}  // namespace

std::vector<InputFile> find_inputs(const CorpusSource& source, int64_t& skipped_count) {
  std::vector<InputFile> files;
  for (const std::string& name : source.paths) {
    const Path path(name);
    if (!path_exists(path)) {
      fail(ErrorCode::kNotFound, "no file or folder {}{}{}", name, source.hint.empty() ? "" : ": ",
           source.hint);
    }
    if (fs::is_directory(path)) {
      add_folder(source, path, files, skipped_count);
    } else {
      const std::string label = path.filename().string();
      const std::string folder_language = language_of_folders(path, source.languages);
      files.push_back({.path = path,
                       .label = source.name.empty() ? label : source.name + "/" + label,
                       .language = source.language.empty() ? folder_language : source.language});
    }
  }
  if (files.empty()) {
    fail(ErrorCode::kInvalidArgument,
         "no usable file in {}: text, Markdown, HTML or JSONL (also .gz, .zst) is needed{}",
         source.paths.empty() ? "an empty list of paths" : source.paths.front(),
         source.include.empty()
             ? ""
             : fmt::format("; 'include' is {}", Json::array_of(source.include).dump()));
  }
  return files;
}

void read_documents(const InputFile& file, BadRecords& bad,
                    const std::function<void(Record)>& use) {
  if (kind_of(file.path) == Kind::kJsonl) return read_jsonl(file, bad, use);
  try {
    Record record{.text = text_of_file(file),
                  .messages = "",
                  .language = file.language,
                  .source = file.label};
    if (record.text.empty()) return bad.add(file.path.string(), 0, "no text in it");
    use(std::move(record));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCorrupt && error.code() != ErrorCode::kUnsupported) throw;
    bad.add(file.path.string(), 0, error.what());
  }
}

}  // namespace dure
