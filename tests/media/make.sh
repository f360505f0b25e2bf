#!/usr/bin/env bash
# Makes every sample file that is checked in: the inputs of the tests (tests/media), the outputs of the simulator
# (src/simulator/media) and the inputs of the demo (src/demo/samples). Nobody needs to run it to build or test the
# project; it is here so that the samples can be explained, and made again when a format is added.
#
# Needs, all in Debian: ffmpeg imagemagick libjpeg-turbo-progs libheif-examples python3
#
# The files carry no dates, no tool settings and no names of machines or people: encoders run with one thread and in
# their bit-exact modes, and metadata is stripped. Other versions of the encoders give other bytes, of the same kinds.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
tests=$root/tests/media
outputs=$root/src/simulator/media
demo=$root/src/demo/samples
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT
mkdir -p "$tests" "$outputs" "$demo"

# ffmpeg, quiet, without metadata, the same bytes each time.
ff() {
    ffmpeg -nostdin -hide_banner -loglevel error -y "${@:1:$#-1}" \
        -threads 1 -map_metadata -1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact "${@: -1}"
}

# H.264 that plays everywhere, without the encoder's settings in the stream (SEI messages, NAL type 6).
h264=(-c:v libx264 -preset veryslow -pix_fmt yuv420p -bsf:v filter_units=remove_types=6)

# --- Outputs of the simulator -------------------------------------------------------------------------------------

sky="gradients=size=320x180:rate=24:duration=2:c0=0x1b2a49:c1=0xf08a5d:c2=0x2a9d8f:nb_colors=3:seed=7:speed=0.03"
chord="sine=frequency=440:sample_rate=44100:duration=2"

ff -f lavfi -i "$sky" "${h264[@]}" -crf 26 -movflags +faststart "$outputs/video.mp4"
ff -f lavfi -i "$sky" -f lavfi -i "$chord" "${h264[@]}" -crf 26 -c:a aac -b:a 64k -shortest -movflags +faststart \
    "$outputs/video_audio.mp4"
convert -size 320x180 gradient:'#1b2a49-#f08a5d' -fill '#ffd9a0' -draw 'circle 220,110 220,80' \
    -depth 8 -strip -define png:exclude-chunks=date,time "PNG24:$outputs/image.png"
ff -f lavfi -i "$chord" -c:a libmp3lame -b:a 64k -id3v2_version 0 "$outputs/audio.mp3"
ff -f lavfi -i "sine=frequency=440:sample_rate=16000:duration=1.5" -c:a pcm_s16le "$outputs/audio.wav"

# --- Inputs of the tests ------------------------------------------------------------------------------------------

ff -f lavfi -i "testsrc2=size=96x64:rate=1:duration=1" -frames:v 1 -pix_fmt rgb24 "$scratch/card.png"
ff -f lavfi -i "testsrc2=size=96x64:rate=12:duration=1" -c:v rawvideo -pix_fmt yuv420p "$scratch/card.nut"
ff -f lavfi -i "sine=frequency=440:sample_rate=22050:duration=1" -c:a pcm_s16le "$scratch/tone.wav"
card=$scratch/card.png clip=$scratch/card.nut tone=$scratch/tone.wav

convert "$card" -strip -quality 80 -interlace none "$tests/baseline.jpg"
jpegtran -copy none -progressive -outfile "$tests/progressive.jpg" "$tests/baseline.jpg"
# A camera's picture: EXIF in front, and in it a whole small JPEG with an end marker of its own.
convert "$card" -strip -resize 32x -quality 70 "$scratch/thumbnail.jpg"
python3 - "$tests/baseline.jpg" "$scratch/thumbnail.jpg" "$tests/exif-thumbnail.jpg" <<'PYTHON'
import struct
import sys

picture, thumbnail = (open(path, "rb").read() for path in sys.argv[1:3])
entry = lambda tag, kind, value: struct.pack("<HHII", tag, kind, 1, value)
first_at = 8
second_at = first_at + 2 + 12 + 4
thumbnail_at = second_at + 2 + 3 * 12 + 4
tiff = b"II*\0" + struct.pack("<I", first_at)
tiff += struct.pack("<H", 1) + entry(0x0112, 3, 1) + struct.pack("<I", second_at)
tiff += struct.pack("<H", 3) + entry(0x0103, 3, 6) + entry(0x0201, 4, thumbnail_at)
tiff += entry(0x0202, 4, len(thumbnail)) + struct.pack("<I", 0)
exif = b"Exif\0\0" + tiff + thumbnail
open(sys.argv[3], "wb").write(picture[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + picture[2:])
PYTHON
convert "$card" -strip -define png:exclude-chunks=date,time "PNG24:$tests/picture.png"
ff -i "$card" -c:v libwebp -quality 60 "$tests/lossy.webp"
ff -i "$card" -c:v libwebp -lossless 1 "$tests/lossless.webp"
ff -i "$clip" -vf fps=4 -c:v libwebp_anim -quality 40 -loop 0 "$tests/animated.webp"
ff -i "$card" "$tests/picture.gif"
heif-enc --no-alpha -q 40 -p preset=veryslow -o "$tests/picture.heic" "$card" > /dev/null 2>&1
heif-enc --no-alpha -A -q 40 -o "$tests/picture.avif" "$card" > /dev/null 2>&1
convert "$card" -strip -resize 48x32 -compress LZW "$tests/picture.tiff"
convert "$card" -strip -resize 48x32 -type palette "BMP3:$tests/picture.bmp"
ff -i "$card" -c:v libjxl -distance 4 "$tests/picture.jxl"

ff -i "$clip" -i "$tone" "${h264[@]}" -crf 34 -c:a aac -b:a 32k -movflags +faststart "$tests/faststart.mp4"
ff -i "$clip" -i "$tone" "${h264[@]}" -crf 34 -c:a aac -b:a 32k "$tests/moov-at-end.mp4"
ff -i "$clip" "${h264[@]}" -crf 34 -g 6 -movflags +frag_keyframe+empty_moov "$tests/fragmented.mp4"
ff -i "$clip" -i "$tone" "${h264[@]}" -crf 34 -c:a aac -b:a 32k "$tests/clip.mov"
ff -i "$clip" -i "$tone" -c:v libvpx-vp9 -b:v 60k -c:a libopus -b:a 24k "$tests/clip.webm"
# What a live recorder writes: to a pipe, where sizes cannot be filled in afterwards.
ff -i "$clip" -c:v libvpx -b:v 60k -f webm pipe:1 | cat > "$tests/live.webm"
ff -i "$clip" "${h264[@]}" -crf 34 "$tests/clip.mkv"
ff -i "$clip" -c:v libtheora -q:v 4 "$tests/clip.ogv"
ff -i "$clip" -c:v mpeg4 -q:v 20 "$tests/clip.avi"
ff -i "$clip" -r 25 -c:v mpeg1video -q:v 20 "$tests/clip.mpg"

ff -i "$tone" -c:a libmp3lame -b:a 32k -metadata title=tone "$tests/tone.mp3"
ff -i "$tone" -c:a libmp3lame -b:a 32k -write_xing 0 -id3v2_version 0 "$tests/plain.mp3"
ff -i "$tone" -c:a pcm_u8 -ar 8000 "$tests/tone.wav"
ff -i "$tone" -c:a flac -ar 8000 -frame_size 1024 "$tests/tone.flac"
ff -i "$tone" -c:a aac -b:a 32k "$tests/tone.m4a"
ff -i "$tone" -c:a aac -b:a 32k -f adts "$tests/tone.aac"
ff -i "$tone" -c:a libopus -b:a 24k "$tests/tone.ogg"
ff -i "$tone" -c:a pcm_s16be -ar 8000 "$tests/tone.aiff"

# --- Inputs of the demo -------------------------------------------------------------------------------------------

# A harbour at dusk with a lighthouse.
convert -size 1280x430 gradient:'#16213e-#f29e6d' \
    -fill '#ffe3b8' -draw 'circle 840,405 840,345' -fill 'rgba(255,227,184,0.35)' -draw 'circle 840,405 840,300' \
    "$scratch/sky.png"
convert -size 1280x290 gradient:'#c9785a-#0f1a33' "$scratch/sea.png"
convert "$scratch/sky.png" "$scratch/sea.png" -append \
    -fill '#4b4a69' -draw 'polygon 560,430 700,372 820,405 960,352 1120,398 1280,368 1280,430' \
    -fill '#2f3353' -draw 'polygon 880,430 1010,392 1130,415 1280,385 1280,430' \
    -fill 'rgba(255,227,184,0.55)' -draw 'rectangle 772,440 908,445 rectangle 790,458 890,463 rectangle 760,480 920,484
        rectangle 800,505 880,509 rectangle 780,535 900,538 rectangle 815,570 865,573' \
    -fill 'rgba(255,240,200,0.22)' -draw 'polygon 262,178 1280,60 1280,190' \
    -fill '#1c1f38' -draw 'polygon 0,560 60,470 160,440 330,440 420,480 520,560 470,600 0,620' \
    -fill '#f4ede4' -draw 'polygon 220,445 240,200 284,200 304,445' \
    -fill '#c0392b' -draw 'polygon 233,290 236,250 288,250 291,290 polygon 225,385 229,340 295,340 299,385' \
    -fill '#22263f' -draw 'rectangle 230,192 294,202 rectangle 244,160 280,192 polygon 238,160 262,132 286,160' \
    -fill '#fff3c4' -draw 'rectangle 251,166 273,190' \
    -fill '#1c1f38' -draw 'polygon 980,520 1150,520 1120,556 1010,556 polygon 1062,515 1062,400 1066,400 1066,515' \
    -fill '#efe3d0' -draw 'polygon 1070,410 1070,505 1140,505 polygon 1058,425 1058,505 1000,505' \
    -strip -sampling-factor 4:2:0 -quality 78 "$demo/harbour.jpg"

# A runway in the evening, lights on, one aeroplane above it.
convert -size 960x300 gradient:'#12263a-#f4a261' "$scratch/sky.png"
convert -size 960x240 gradient:'#3b4a3f-#1b241f' "$scratch/ground.png"
convert "$scratch/sky.png" "$scratch/ground.png" -append \
    -fill '#26343f' -draw 'polygon 0,300 0,276 150,262 320,282 520,256 700,280 960,264 960,300' \
    -fill '#3a3d42' -draw 'polygon 455,300 505,300 800,540 160,540' \
    -fill '#e9e4d8' -draw 'polygon 478,312 482,312 483,326 477,326 polygon 476,340 484,340 486,362 474,362
        polygon 473,384 487,384 490,418 470,418 polygon 469,446 491,446 496,500 464,500' \
    -fill '#ffe9a8' -draw 'circle 446,308 446,306.5 circle 514,308 514,306.5 circle 430,322 430,320 circle 530,322 530,320
        circle 404,344 404,341.5 circle 556,344 556,341.5 circle 364,378 364,375 circle 596,378 596,375
        circle 302,430 302,426 circle 658,430 658,426 circle 208,510 208,505 circle 752,510 752,505' \
    -fill '#f5f5f0' -draw 'polygon 600,150 700,128 726,106 738,106 732,132 748,136 748,142 700,150 640,162 612,162' \
    -fill '#cfd6dc' -draw 'polygon 664,150 690,146 650,186 638,186 polygon 668,136 684,132 664,112 656,112' \
    -depth 8 -strip -define png:exclude-chunks=date,time -define png:compression-level=9 "PNG24:$demo/runway.png"

# A portrait.
convert -size 720x960 radial-gradient:'#f6d6ad-#d98e73' \
    -fill '#35506b' -draw "path 'M 110,960 C 120,790 250,745 360,745 C 470,745 600,790 610,960 Z'" \
    -fill '#efe7da' -draw 'polygon 300,742 420,742 360,850' \
    -fill '#3d2b2b' -draw "path 'M 175,470 C 150,210 280,150 365,150 C 470,150 570,220 545,470 C 565,600 545,690 520,720 L 200,720 C 175,690 155,600 175,470 Z'" \
    -fill '#d9a07f' -draw "path 'M 305,620 L 305,745 C 320,790 400,790 415,745 L 415,620 Z'" \
    -fill '#eab892' -draw "path 'M 220,430 C 220,290 290,255 360,255 C 430,255 500,290 500,430 C 500,580 430,670 360,670 C 290,670 220,580 220,430 Z'" \
    -fill '#3d2b2b' -draw "path 'M 212,440 C 205,300 290,228 372,236 C 330,300 270,330 212,440 Z'" \
    -draw "path 'M 508,440 C 515,300 440,228 348,236 C 400,300 455,330 508,440 Z'" \
    -fill '#fbf6ee' -draw 'ellipse 300,440 27,15 0,360 ellipse 420,440 27,15 0,360' \
    -fill '#3f6f6a' -draw 'circle 302,440 302,427 circle 422,440 422,427' \
    -fill '#1d1a1a' -draw 'circle 302,440 302,434 circle 422,440 422,434' \
    -fill '#3d2b2b' -draw 'roundrectangle 264,400 336,408 4,4 roundrectangle 384,400 456,408 4,4' \
    -fill '#d39a78' -draw "path 'M 356,440 L 338,522 C 348,534 372,534 380,522 C 368,516 360,500 364,440 Z'" \
    -fill '#b5524a' -draw "path 'M 310,575 C 335,562 350,568 360,572 C 370,568 385,562 410,575 C 390,604 330,604 310,575 Z'" \
    -strip "$scratch/portrait.png"
ff -i "$scratch/portrait.png" -c:v libwebp -quality 80 "$demo/portrait.webp"

# Two seconds of somebody walking over the hills.
for frame in $(seq 0 47); do
    awk -v frame="$frame" '
        function limb(x, y, angle, bend, length_, width, colour) {
            kx = x + sin(angle) * length_; ky = y + cos(angle) * length_
            fx = kx + sin(angle - bend) * length_; fy = ky + cos(angle - bend) * length_
            printf "stroke %s stroke-width %d stroke-linecap round stroke-linejoin round fill none polyline %f,%f %f,%f %f,%f\n", \
                colour, width, x, y, kx, ky, fx, fy
        }
        function hills(base, height, wave, shift, colour,   x) {
            printf "stroke none fill %s polygon 0,360", colour
            for (x = 0; x <= 640; x += 16) printf " %d,%f", x, base - height * (sin((x + shift) / wave) + 0.4 * sin((x + shift) / wave * 2.3))
            print " 640,360"
        }
        BEGIN {
            phase = frame / 24 * 6.2831853; bob = 3 * cos(2 * phase)
            print "fill #ffe8c2 circle 500,90 500,55"
            hills(250, 22, 90, frame * 0.8, "#8fb8a8")
            hills(285, 16, 60, frame * 2, "#5f9183")
            print "stroke none fill #35524a rectangle 0,306 640,360"
            for (x = -frame * 5 % 80; x < 640; x += 80) printf "fill #44685d rectangle %f,318 %f,322\n", x, x + 34
            hip = 226 + bob; neck = 168 + bob
            limb(300, neck + 6, -0.6 * sin(phase), -0.5, 28, 9, "#8f3a2f")
            limb(300, hip, 0.6 * sin(phase + 3.14159), 0.35 + 0.35 * cos(phase + 3.14159), 40, 12, "#1f2d3d")
            printf "stroke #c44f3d stroke-width 26 stroke-linecap round fill none line 300,%f 300,%f\n", neck + 10, hip - 8
            printf "stroke none fill #e8b48f circle 303,%f 303,%f\n", neck - 22, neck - 40
            printf "fill #3d2b2b path \"M 285,%f A 18,18 0 0 1 318,%f L 300,%f Z\"\n", neck - 22, neck - 32, neck - 26
            limb(300, hip, 0.6 * sin(phase), 0.35 + 0.35 * cos(phase), 40, 12, "#2c3e50")
            limb(300, neck + 6, 0.6 * sin(phase), -0.5, 28, 9, "#d9604c")
        }' > "$scratch/frame.mvg"
    convert -size 640x360 gradient:'#9fd3e0-#f7e3c4' -draw "$(cat "$scratch/frame.mvg")" \
        "PNG24:$(printf '%s/walk-%02d.png' "$scratch" "$frame")"
done
ff -framerate 24 -i "$scratch/walk-%02d.png" "${h264[@]}" -crf 27 -movflags +faststart "$demo/walk.mp4"

# --- Proof that each decodes ----------------------------------------------------------------------------------------

for file in "$tests"/*.* "$outputs"/* "$demo"/*; do
    case $file in
        *.sh | *.heic | *.avif | *animated.webp) ;; # this ffmpeg's demuxers do not know HEIF or animated WebP
        *)
            complaints=$(ffmpeg -nostdin -hide_banner -loglevel error -i "$file" -f null - 2>&1)
            if [ -n "$complaints" ]; then
                echo "$file does not decode: $complaints" >&2
                exit 1
            fi
            ;;
    esac
done
du -cb "$tests"/* "$outputs"/* "$demo"/*
