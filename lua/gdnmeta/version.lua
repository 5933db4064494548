-- Generated from src/gdnmeta.h by make. Do not edit.
return "0.2.0"
