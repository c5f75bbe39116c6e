// expect: no viable conversion|could not convert|cannot convert|conversion from .* requested
// Rows to read are no rows to write.
#include "ivl/core/rows.hpp"

#ifdef IVL_CONTROL
using Read = float;
#else
using Read = const float;
#endif

ivl::Rows<float> writable(ivl::Rows<Read, 16> rows) { return rows; }
