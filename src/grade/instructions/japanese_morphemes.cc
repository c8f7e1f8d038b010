// MeCab is loaded where it is installed, so that building and every other kind go without it.
#include <dlfcn.h>

#include <mutex>

#include "base/file.h"
#include "grade/instructions/instruction.h"
#include "grade/instructions/japanese.h"

namespace dure::instructions {
namespace {

// The four functions of MeCab's C interface that are used (mecab.h, version 0.996).
struct Mecab {
  using New = void* (*)(const char* arguments);
  using Parse = const char* (*)(void* tagger, const char* text, size_t bytes);
  using Destroy = void (*)(void* tagger);
  New make = nullptr;
  Parse parse = nullptr;
  Destroy destroy = nullptr;

  Mecab() {
    void* library = dlopen("libmecab.so.2", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return;
    make = reinterpret_cast<New>(dlsym(library, "mecab_new2"));
    parse = reinterpret_cast<Parse>(dlsym(library, "mecab_sparse_tostr2"));
    destroy = reinterpret_cast<Destroy>(dlsym(library, "mecab_destroy"));
  }
};

// Where Debian's mecab-ipadic-utf8 compiles its dictionary; DURE_MECAB_DICTIONARY names another.
std::string dictionary_folder() {
  const char* named = std::getenv("DURE_MECAB_DICTIONARY");
  return named != nullptr ? named : "/var/lib/mecab/dic/ipadic-utf8";
}

// One tagger serves all threads in turn: its dictionary takes 50 MB.
class Tagger {
 public:
  Tagger() {
    const std::string folder = dictionary_folder();
    if (mecab_.make == nullptr || mecab_.parse == nullptr ||
        !std::filesystem::exists(folder + "/sys.dic"))
      return;
    tagger_ = mecab_.make(
        ("-r /dev/null -d " + folder + " -F %m\\t%f[0]\\n -U %m\\t%f[0]\\n -E \\n").c_str());
  }
  ~Tagger() {
    if (tagger_ != nullptr && mecab_.destroy != nullptr) mecab_.destroy(tagger_);
  }
  // Lines "surface TAB part of speech".
  std::string lines_of(const std::string& text) {
    const std::lock_guard lock(mutex_);
    const char* lines =
        tagger_ == nullptr ? nullptr : mecab_.parse(tagger_, text.data(), text.size());
    if (lines == nullptr)
      throw CannotTell{
          "Japanese morphemes need MeCab and its dictionary: install libmecab2 and "
          "mecab-ipadic-utf8"};
    return lines;
  }

 private:
  Mecab mecab_;
  void* tagger_ = nullptr;
  std::mutex mutex_;
};

constexpr size_t kPieceMax = 1024;  // characters; longer pieces are cut, for memory's sake

void add_piece(Tagger& tagger, CharsView piece, std::vector<Morpheme>& out) {
  const Chars lines = chars_of(tagger.lines_of(utf8_of(piece)));
  for (const CharsView line : split(lines, U"\n")) {
    const size_t tab = line.find(U'\t');
    if (tab == line.npos || tab == 0) continue;
    out.push_back({Chars(line.substr(0, tab)), line.substr(tab + 1) == U"名詞"});
  }
}

}  // namespace

std::vector<Morpheme> japanese_morphemes(CharsView text) {
  static Tagger tagger;
  std::vector<Morpheme> out;
  for (size_t i = 0; i < text.size();) {
    const bool blank = is_space(text[i]);
    const size_t begin = i;
    while (i < text.size() && is_space(text[i]) == blank && i - begin < kPieceMax) ++i;
    const CharsView piece = text.substr(begin, i - begin);
    if (blank)
      out.push_back({Chars(piece), false});
    else
      add_piece(tagger, piece, out);
  }
  return out;
}

}  // namespace dure::instructions
