// Package auth tells who a sid is.
package auth
