#include "text/gguf_vocab.h"
