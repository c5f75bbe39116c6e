// A reported bug abandons its threads' stacks, and strings on them with them; so no look for leaks here.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }
