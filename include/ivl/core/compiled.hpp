// Two ways to use this library. Header-only, the default: every header brings the bodies of its functions, from the
// .ipp file of its name. Or compiled once, for programs of many files: IVL_COMPILED is defined for all of them, and one
// file includes ivl/definitions.ipp (the CMake target ivl::compiled has its six parts). Only what is a template on a
// checkpoint is then compiled again in each file.
#pragma once

#ifdef IVL_COMPILED
#define IVL_INLINE
#else
#define IVL_INLINE inline
#endif
